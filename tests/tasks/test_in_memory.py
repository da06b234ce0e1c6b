"""Python objects in, Python objects out: the same as from files by the command line."""

from pathlib import Path

import pytest
import torch

from ltsft.data import ParsingData, TaggingData
from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseFineTuning
from ltsft.tasks import Parser, SentenceClassifier, Tagger
from tests.tiny import save_base

SENTENCES = [["w1", "w2", "w3"], ["w4"], ["w5", "w6"]] * 3


@pytest.fixture
def base():
    return save_base(Path("base"))


def from_file(task, data):
    """What ``predict_step`` says of the batches of a file, one by one."""
    task.eval()
    loader = data.predict_dataloader()[0]
    with torch.no_grad():
        return [answer for n, batch in enumerate(loader) for answer in task.predict_step(batch, n)]


def write_words(path):
    Path(path).write_text("\n\n".join("\n".join(words) for words in SENTENCES) + "\n")
    return path


def test_tags(base):
    tagger = Tagger(labels=["A", "B", "O"], base_model=base)
    data = TaggingData(
        base, labels=["A", "B", "O"], max_length=64, predict={"xx": write_words("words.txt")}
    )
    tags = tagger.tag(SENTENCES, batch_size=2)
    assert [len(sentence) for sentence in tags] == [3, 1, 2] * 3
    assert tags == from_file(tagger, data)
    assert tagger.training is False  # as `from_file` left it
    assert tagger.tag([]) == []


def test_words_beyond_the_limit_get_a_tag(base):
    tagger = Tagger(labels=["A", "O"], base_model=base)
    ((*_, last),) = tagger.tag([["w1"] * 20], max_length=8)
    assert last == "O"


def test_trees(base):
    parser = Parser(labels=["root", "dep"], base_model=base)
    data = ParsingData(
        base, labels=["root", "dep"], max_length=64, predict=write_words("hsb-words.txt")
    )
    trees = parser.parse(SENTENCES, batch_size=2)
    assert trees == from_file(parser, data)
    assert all(sum(head == 0 for head, _ in tree) == 1 for tree in trees)


@pytest.mark.parametrize("texts", [["w1 w2", "w3"], [("w1", "w2"), ("w3", "w4 w5")]])
def test_labels_of_texts(base, texts):
    classifier = SentenceClassifier(labels=["yes", "no"], base_model=base)
    shares = classifier.classify(texts)
    assert len(shares) == 2
    for share in shares:
        assert share.keys() == {"yes", "no"}
        assert sum(share.values()) == pytest.approx(1)
    assert classifier.classify(texts[::-1]) == [
        {label: pytest.approx(value, abs=1e-6) for label, value in share.items()}
        for share in shares[::-1]
    ]


@pytest.mark.parametrize("given", ["a text .", ["one", "sentence"], ["a text", ["b"]], [[1]]])
def test_text_where_words_are_expected(base, given):
    """Its characters would be tagged."""
    for task, call in ((Tagger, "tag"), (Parser, "parse")):
        with pytest.raises(LtsftError, match=rf"`sentences` .* lists of words, .* write `{call}\("):
            getattr(task(labels=["root", "O"], base_model=base), call)(given)
    classifier = SentenceClassifier(labels=["a", "b"], base_model=base)
    with pytest.raises(LtsftError, match=r"`texts` .* write `classify\(\[text\]\)`"):
        classifier.classify("a text")


@pytest.mark.parametrize(
    ("made_by", "task"), [(Tagger, "pos"), (Parser, "dp"), (SentenceClassifier, "nli")]
)
def test_another_task_s_fine_tuning_is_refused(base, made_by, task):
    """It would answer from a head at random, or from the other's."""
    metadata = Metadata(task=task, labels=["root", "O"])
    SparseFineTuning({}, {}, metadata).save_pretrained("other")
    for other in {Tagger, Parser, SentenceClassifier} - {made_by}:
        with pytest.raises(LtsftError, match=rf"of the task {task}, which {made_by.__name__} does"):
            other(base_model=base, base_sfts=["other"])


def test_nothing_is_kept_for_a_backward_pass(base, monkeypatch):
    """Which would take the memory of training."""
    modes = []
    step = Tagger.predict_step

    def predict_step(self, *args):
        modes.append(torch.is_inference_mode_enabled())
        return step(self, *args)

    monkeypatch.setattr(Tagger, "predict_step", predict_step)
    Tagger(labels=["A", "O"], base_model=base).tag(SENTENCES)
    assert modes == [True]
