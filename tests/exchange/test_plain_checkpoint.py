"""A base model with fine-tunings in it: which class, which head, which labels, which weights."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.data.encoding.words import tokenize_words
from ltsft.errors import LtsftError
from ltsft.exchange.plain_checkpoint import HEAD_OF_TASK, HEADS, compose, save
from ltsft.sparse import LargestChange, Metadata, SparseDelta, SparseFineTuning, Ticket
from ltsft.tasks import MaskedLM, QuestionAnswering
from tests.constructions import CONSTRUCTIONS
from tests.tiny import save_base, tokenizer

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
        sfts["aa"] = one("masked-lm", position=7, base_model=base)
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
    sfts = {"task": one("pos", labels=LABELS)}
    model = compose(sfts, base)
    save(model, tmp_path / "new" / "tagger", sfts)
    again = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "new/tagger")
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "tagger")
    assert tokenizer("w1 w2")["input_ids"] == [0, 6, 7, 2]
    (tmp_path / "file").write_text("")
    with pytest.raises(LtsftError, match="`--output` cannot be made"):
        save(model, tmp_path / "file" / "tagger", sfts)


@pytest.mark.parametrize(
    ("kind", "of_robertas_class"),
    [
        *((kind, False) for kind in ("BERT", "RoBERTa", "XLM-R", "DeBERTa-v3", "EuroBERT")),
        ("mmBERT", False),
        ("RoBERTa", True),
    ],
)
def test_the_saved_tokenizer_cuts_as_training_did(kind, of_robertas_class, tmp_path):
    """Running text, and words by the saved tokenizer's setting or as the card says."""
    lines = ["We don't pay 123456 U.S. dollars, do we?", "They're here; I'll go at 10:30!"]
    base = CONSTRUCTIONS[kind].save(tmp_path / "base", lines * 3)
    if of_robertas_class:
        model = json.loads(Path(base, "tokenizer.json").read_text())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges).save_pretrained(base)
    model = transformers.AutoModelForMaskedLM.from_pretrained(base)
    save(model, tmp_path / "composed", {})
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "composed")
    in_training = load_tokenizer(base, 128)
    for line in lines:
        assert saved(line)["input_ids"] == in_training(line)["input_ids"]
        words = line.split()
        expected = tokenize_words([words], in_training, 128)["input_ids"][0].tolist()
        card = Path(tmp_path, "composed", "README.md").read_text()
        if "a space before each" in card:
            words = [f" {word}" for word in words]
        assert saved(words, is_split_into_words=True)["input_ids"] == expected


def test_the_card_names_folders_by_their_last_name(base, tmp_path):
    sfts = {"runs/pos": one("pos", labels=LABELS, language="en")}
    save(compose(sfts, base), tmp_path / "tagger", sfts, "sum", [0.5])
    card = (tmp_path / "tagger" / "README.md").read_text()
    assert "base_model: base\n" in card
    assert "| runs/pos | pos | en | 1 | 0.5 |" in card
    assert str(tmp_path) not in card
    assert "space" not in card


@pytest.mark.parametrize(
    ("kind", "task"), [("Bert", "MaskedLM"), ("Electra", "MaskedLM"), ("BigBird", "Questions")]
)
def test_a_head_with_a_random_start_is_in_the_fine_tuning(kind, task, tmp_path):
    """A base saved without it, normalisation included; composed, it says what the task says."""
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        vocab_size=65, attention_type="original_full",
    )  # fmt: skip
    base = str(tmp_path / "base")
    getattr(transformers, f"{kind}Model")(config).save_pretrained(base)
    tokenizer().save_pretrained(base)
    module = (MaskedLM if task == "MaskedLM" else QuestionAnswering)(base_model=base)
    ticket = Ticket(module.sft_root, module.scope_rules())
    for parameter in ticket.parameters.values():
        parameter.data += torch.rand_like(parameter)
    ticket.select(LargestChange(), 50)
    start = {name: ticket.initial[name] for name in ticket.scope.maskable}
    ticket.rewind()
    for name, parameter in ticket.parameters.items():
        parameter.data += torch.rand_like(parameter) * (ticket.mask[name] if name in start else 1)
    sft = ticket.difference(**module.sft_metadata())
    save(compose({"sft": sft}, base), tmp_path / "composed", {"sft": sft})
    again = module.auto_class.from_pretrained(tmp_path / "composed")
    ids = torch.tensor([[0, 7, 8, 9, 2]])
    with torch.no_grad():
        assert torch.equal(again.eval()(ids)[0], module.eval().model(ids)[0])
