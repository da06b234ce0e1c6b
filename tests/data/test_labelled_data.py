"""LabelledData: languages, roles and labels, shown on tagging."""

from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import LightningModule, Trainer

from ltsft.data import TaggingData
from ltsft.data.labels import UPOS
from ltsft.errors import LtsftError
from tests.data.test_tagging_data import conllu


@pytest.fixture
def treebank(write: Callable[..., str]) -> str:
    return write("a.conllu", conllu("ab/NOUN c/VERB", "d/X", "e/ADJ f/NOUN g/PUNCT"))


def test_one_loader_per_language(
    make_tokenizer: Callable[..., str], treebank: str, write: Callable[..., str]
) -> None:
    """In the order given, batches carry their language, nothing is shuffled or repeated."""
    other = write("b.conllu", conllu("h/NOUN"))
    data = TaggingData(
        make_tokenizer(),
        test={"xx": treebank, "aa": other},
        predict={"aa": other},
        eval_batch_size=2,
    )
    first, second = data.test_dataloader()
    assert [batch["language"] for batch in first] == ["xx", "xx"]
    assert [batch["language"] for batch in second] == ["aa"]
    assert data.evaluation_languages("test") == ["xx", "aa"]
    assert data.evaluation_languages("validate") == []
    labels = [[UPOS[label] for label in row if label >= 0] for b in first for row in b["labels"]]
    assert labels == [["NOUN", "VERB"], ["X"], ["ADJ", "NOUN", "PUNCT"]]
    assert [s.words for s in data.examples("predict", "aa")] == [["h"]]
    assert [batch["language"] for batch in data.predict_dataloader()[0]] == ["aa"]


def test_disjoint_labels(make_tokenizer: Callable[..., str], treebank: str) -> None:
    data = TaggingData(make_tokenizer(), test={"xx": treebank}, labels=["A", "B"])
    with pytest.raises(LtsftError, match=r"test.xx` .* labels A, B, but it has only ADJ, NOUN"):
        data.test_dataloader()


def test_the_models_labels_are_the_truth(make_tokenizer: Callable[..., str], treebank: str) -> None:
    """Ids are the model's from then on; other labels given explicitly are refused."""
    data = TaggingData(make_tokenizer(), test={"xx": treebank})
    data.setup("test")
    theirs = UPOS[::-1]
    data.use_labels(theirs)
    (batch,) = list(data.test_dataloader()[0])
    assert data.labels == theirs
    assert batch["labels"][1, 0] == theirs.index("X")
    data = TaggingData(make_tokenizer(), test={"xx": treebank}, labels=["NOUN", "VERB"])
    data.use_labels(["NOUN", "VERB"])
    with pytest.raises(
        LtsftError, match=r"labels` .* those of the model, \['X'\], but got \['NOUN'"
    ):
        data.use_labels(["X"])


def test_roles_without_data(make_tokenizer: Callable[..., str]) -> None:
    """A fit may go without validation; nothing else may be missing."""
    data = TaggingData(make_tokenizer())
    assert data.val_dataloader() == []
    for role, loaders in (
        ("train", data.train_dataloader),
        ("test", data.test_dataloader),
        ("predict", data.predict_dataloader),
    ):
        with pytest.raises(LtsftError, match=f"`data.init_args.{role}` is expected to give data"):
            loaders()


class Silent(LightningModule):
    def validation_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        pass


def test_validate_needs_validation_data(make_tokenizer: Callable[..., str]) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    with pytest.raises(LtsftError, match="`data.init_args.validation` is expected to give data"):
        trainer.validate(Silent(), TaggingData(make_tokenizer()))


def test_missing_file_is_named(make_tokenizer: Callable[..., str]) -> None:
    data = TaggingData(make_tokenizer(), test={"xx": "no/such.conllu"})
    with pytest.raises(
        LtsftError, match=r"`data.init_args.test.xx` .* 'no/such.conllu' is neither"
    ):
        data.setup("test")


def test_many_training_languages(
    make_tokenizer: Callable[..., str], write: Callable[..., str]
) -> None:
    """Each batch is of one, all examples are there, up to `max_examples` of each language."""
    data = TaggingData(
        make_tokenizer(),
        train={
            "xx": write("x.conllu", conllu(*["a/NOUN"] * 10)),
            "yy": write("y.conllu", conllu(*["b/VERB c/X"] * 3)),
        },
        max_examples=6,
        global_batch_size=3,
    )
    assert data.training_languages == ["xx", "yy"]
    batches = list(data.train_dataloader())
    assert sorted(batch["language"] for batch in batches) == ["xx", "xx", "yy"]
    for batch in batches:
        expected = {"xx": [UPOS.index("NOUN")], "yy": [UPOS.index("VERB"), UPOS.index("X")]}
        assert batch["labels"].tolist() == [expected[batch["language"]]] * 3
