"""A base model with fine-tunings in it: which class, which head, which labels, which weights."""

import pytest
import torch
import transformers

from ltsft.errors import LtsftError
from ltsft.exchange.plain_checkpoint import HEAD_OF_TASK, HEADS, compose, save
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from tests.tiny import save_base

WEIGHT = "bert.encoder.layer.0.output.dense.weight"
LABELS = ["X", "Y", "Z"]

CLASSES = {
    "masked-lm": "BertForMaskedLM",
    "pos": "BertForTokenClassification",
    "ner": "BertForTokenClassification",
    "nli": "BertForSequenceClassification",
    "classification": "BertForSequenceClassification",
    "qa": "BertForQuestionAnswering",
}
"""Task -> class of transformers that has its head on a BERT."""

HEAD_SHAPES = {
    "masked-lm": {},  # came with the base
    "pos": {"classifier.weight": (3, 16), "classifier.bias": (3,)},
    "nli": {
        "classifier.weight": (3, 16),
        "classifier.bias": (3,),
        "bert.pooler.dense.weight": (16, 16),
        "bert.pooler.dense.bias": (16,),
    },
    "qa": {"qa_outputs.weight": (2, 16), "qa_outputs.bias": (2,)},
}
HEAD_SHAPES |= {"ner": HEAD_SHAPES["pos"], "classification": HEAD_SHAPES["nli"]}


@pytest.fixture
def base(tmp_path):
    return save_base(tmp_path / "base")


def weight_of(base):
    return transformers.AutoModel.from_pretrained(base).get_parameter(WEIGHT.removeprefix("bert."))


def one(task, position=5, value=0.25, labels=None, **metadata):
    """A difference at one position, with a head of ones for a task."""
    delta = SparseDelta((16, 24), torch.tensor([position]), torch.tensor([value]))
    head = {name: torch.ones(shape) for name, shape in HEAD_SHAPES.get(task, {}).items()}
    return SparseFineTuning({WEIGHT: delta}, head, Metadata(task=task, labels=labels, **metadata))


@pytest.mark.parametrize("task", HEAD_OF_TASK)
def test_each_task_gets_its_class_and_its_head(base, task):
    labels = LABELS if "classifier.bias" in HEAD_SHAPES[task] else None
    language = one("masked-lm", position=7, value=-0.5)
    language = SparseFineTuning(
        language.entries, {"classifier.bias": torch.full((3,), 9.0)}, language.metadata
    )
    sfts = {"task": one(task, labels=labels)}
    if task != "masked-lm":
        sfts["language"] = language
    model = compose(sfts, base)
    assert type(model).__name__ == CLASSES[task]
    state = model.state_dict()
    for name, shape in HEAD_SHAPES[task].items():
        assert torch.equal(state[name], torch.ones(shape)), name
    expected = weight_of(base).clone().detach()
    expected.view(-1)[5] += 0.25
    if task != "masked-lm":
        expected.view(-1)[7] -= 0.5
    assert torch.equal(state[WEIGHT], expected)
    if labels:
        assert model.config.id2label == dict(enumerate(LABELS))
        assert model.config.label2id == {"X": 0, "Y": 1, "Z": 2}


def test_heads_are_classes_of_transformers():
    assert set(HEAD_OF_TASK.values()) <= HEADS.keys()
    for name in HEADS.values():
        assert issubclass(getattr(transformers, name), transformers.AutoModelForMaskedLM.__base__)


def test_factors_and_methods(base):
    """At one position 1 · 0.5 and 4 · 0.5: their sum, and their mean."""
    sfts = {"task": one("pos", value=1.0, labels=LABELS), "aa": one("masked-lm", value=4.0)}
    start = weight_of(base).flatten()[5]
    for method, change in (("sum", 2.5), ("mean", 1.25)):
        model = compose(sfts, base, method=method, weights=[0.5, 0.5])
        torch.testing.assert_close(model.get_parameter(WEIGHT).flatten()[5], start + change)


class TestBase:
    def test_is_the_one_that_all_name(self, base):
        sfts = {"task": one("pos", labels=LABELS, base_model=base), "aa": one("masked-lm")}
        with pytest.raises(LtsftError, match="`--base` .* do not name one base model.*None"):
            compose(sfts)
        sfts["aa"] = one("masked-lm", base_model=base)
        assert compose(sfts).name_or_path == base

    def test_says_its_revision_where_all_agree(self, monkeypatch):
        asked = []

        def load(auto_class, name, revision, *_, **__):
            asked.append((name, revision))
            raise LtsftError("no need to load")

        monkeypatch.setattr("ltsft.tasks.encoder.load_encoder", load)
        at = {"base_model": "m", "base_revision": "abc"}
        for second in ("abc", "def"):
            sfts = {
                "task": one("pos", **at),
                "aa": one("masked-lm", **at | {"base_revision": second}),
            }
            with pytest.raises(LtsftError, match="no need"):
                compose(sfts)
        assert asked == [("m", "abc"), ("m", None)]


class TestHead:
    def test_of_a_parser_is_in_no_class(self, base):
        with pytest.raises(LtsftError, match="biaffine head is in none; parse with"):
            compose({"parser": one("dp")}, base)

    def test_of_an_unknown_task_must_be_named(self, base):
        with pytest.raises(LtsftError, match="`--head` is expected .* its task is None; say one"):
            compose({"it": one(None)}, base)
        model = compose({"it": one(None)}, base, head="masked-lm")
        assert type(model).__name__ == "BertForMaskedLM"

    def test_is_not_left_random(self, base):
        with pytest.raises(LtsftError, match="it is expected to bring the whole head .*classifier"):
            compose({"it": one("masked-lm")}, base, head="token-classification")


def test_it_is_saved_with_its_tokenizer_or_not_at_all(base, tmp_path):
    model = compose({"task": one("pos", labels=LABELS)}, base)
    save(model, tmp_path / "new" / "tagger")
    again = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "new/tagger")
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "tagger")
    assert tokenizer("w1 w2")["input_ids"] == [0, 6, 7, 2]
    (tmp_path / "file").write_text("")
    with pytest.raises(LtsftError, match="`--output` cannot be made"):
        save(model, tmp_path / "file" / "tagger")
