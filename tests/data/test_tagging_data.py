"""TaggingData: batches per language, label ids, and what is warned of or refused."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import torch
from lightning.pytorch import LightningDataModule

from ltsft.data import Source, TaggingData
from ltsft.data.formats.iob2 import read_iob2
from ltsft.data.labels import ENTITIES, UPOS
from ltsft.errors import LtsftError

MINI = Path(__file__).parents[3] / "shared/models/mini-mmt"


def conllu(*sentences: str) -> str:
    """CoNLL-U of sentences as ``word/TAG word/TAG``, each word hanging on the one before."""
    return "".join(
        "".join(
            f"{number}\t{word}\t_\t{tag}\t_\t_\t{number - 1}\tdep:sub\t_\t_\n"
            for number, (word, tag) in enumerate(
                (pair.split("/") for pair in sentence.split()), start=1
            )
        )
        + "\n"
        for sentence in sentences
    )


@pytest.fixture
def treebank(write: Callable[..., str]) -> str:
    return write("a.conllu", conllu("ab/NOUN c/VERB", "d/X", "e/ADJ f/NOUN g/PUNCT"))


@pytest.mark.parametrize("pad_id", [0, 1])
def test_training_batches(make_tokenizer: Callable[..., str], treebank: str, pad_id: int) -> None:
    data = TaggingData(make_tokenizer(pad_id), train={"xx": treebank}, global_batch_size=3)
    (batch,) = list(data.train_dataloader())
    order = data.train_dataloader().batch_sampler.order()
    assert batch["labels"][order.argsort()].tolist() == [
        [UPOS.index("NOUN"), UPOS.index("VERB"), -100],
        [UPOS.index("X"), -100, -100],
        [UPOS.index("ADJ"), UPOS.index("NOUN"), UPOS.index("PUNCT")],
    ]
    assert ((batch["input_ids"] == pad_id) == (batch["attention_mask"] == 0)).all()


def test_workers_change_nothing(make_tokenizer: Callable[..., str]) -> None:
    batches = [
        list(
            TaggingData(
                make_tokenizer(),
                train={"elmu": Source("artificial:elmu", limit=30)},
                num_workers=num_workers,
            ).train_dataloader()
        )
        for num_workers in (0, 2)
    ]
    for left, right in zip(*batches, strict=True):
        assert all(
            torch.equal(left[name], right[name])
            for name in ("input_ids", "attention_mask", "word_starts", "labels")
        )


def test_entities(make_tokenizer: Callable[..., str], write: Callable[..., str]) -> None:
    """Types are mapped before ids are given; stray I- tags stay, with a warning."""
    path = write("a.txt", "a B-PER\nb I-DATE\nc I-LOC\n\nd I-PERSON\n")
    data = TaggingData(
        make_tokenizer(), test={"xx": path}, format="iob2", tag_map={"DATE": "O", "PERSON": "PER"}
    )
    with pytest.warns(UserWarning, match=r"test.xx` \(.*a.txt\) has 3 I- tags"):
        (loader,) = data.test_dataloader()
    (batch,) = list(loader)
    names = [[ENTITIES[label] for label in row if label >= 0] for row in batch["labels"]]
    assert names == [["B-PER", "O", "I-LOC"], ["I-PER"]]
    assert data.labels == ENTITIES


def test_labels_outside_the_inventory(
    make_tokenizer: Callable[..., str], treebank: str, write: Callable[..., str]
) -> None:
    """They get the id -1 and one counted warning; predicting does not look at gold labels."""
    path = write("b.conllu", conllu("a/NOUN b/ODD c/ODD d/_"))
    data = TaggingData(
        make_tokenizer(), train={"xx": path}, test={"xx": path}, predict={"xx": path}
    )
    message = r"test.xx` .* has 3 labels outside the inventory \(2 ODD, 1 _\); they count as wrong"
    with pytest.warns(UserWarning, match=message):
        (loader,) = data.test_dataloader()
    (batch,) = list(loader)
    assert batch["labels"].tolist() == [[UPOS.index("NOUN"), -1, -1, -1]]
    with pytest.warns(UserWarning, match=r"train.xx` .* has 3 labels .* they are not trained on"):
        data.train_dataloader()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.predict_dataloader()


def test_long_sentences(make_tokenizer: Callable[..., str], treebank: str) -> None:
    """Words cut off keep their labels, have no beginning, and are told of."""
    data = TaggingData(make_tokenizer(), test={"xx": treebank}, max_length=4)
    with pytest.warns(UserWarning, match=r"test.xx` .* has 2 words beyond `data.init_args.max_len"):
        (loader,) = data.test_dataloader()
    (batch,) = list(loader)
    assert batch["word_starts"].tolist() == [[1, -1, -1], [1, -1, -1], [1, 2, -1]]
    assert (batch["labels"] != -100).sum(dim=1).tolist() == [2, 1, 3]


def test_relations(make_tokenizer: Callable[..., str], treebank: str) -> None:
    data = TaggingData(make_tokenizer(), test={"xx": treebank}, column="deprel", labels=["dep"])
    (batch,) = list(data.test_dataloader()[0])
    assert (batch["labels"] != -100).sum() == (batch["labels"] == 0).sum() == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tsv"}, "`data.init_args.format` .* got 'tsv'"),
        ({"column": "deprel"}, "`data.init_args.labels` .* column 'deprel', but got none"),
        ({"labels": []}, "`data.init_args.labels` .* at least one, but got "),
        ({"labels": ["A", "A"]}, "`data.init_args.labels` is expected to list different labels"),
        ({"max_examples": 0}, "`data.init_args.max_examples` .* got 0"),
        ({"temperature": 0.5}, "`data.init_args.temperature` .* got 0.5"),
        ({"global_batch_size": 0}, "`data.init_args.global_batch_size` .* got 0"),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LtsftError, match=message):
        TaggingData(**options)


def test_yaml(treebank: str) -> None:
    """The signature is the schema: short and long sources, as the command line reads them."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    config = f"""
data:
  class_path: ltsft.data.TaggingData
  init_args:
    train: {{en: {treebank}}}
    test: {{de: {{path: {treebank}, limit: 1}}, fr: "artificial:elmu"}}
    tag_map: {{DATE: O, MISC: O}}
"""
    data = parser.instantiate(parser.parse_string(config)).data
    assert isinstance(data, TaggingData)
    assert data.sources["train"] == {"en": [Source(treebank)]}
    assert data.sources["test"] == {
        "de": [Source(treebank, limit=1)],
        "fr": [Source("artificial:elmu")],
    }
    assert data.tag_map == {"DATE": "O", "MISC": "O"}


@pytest.mark.skipif(not MINI.exists(), reason="no real model here")
def test_real_treebank() -> None:
    """Words with spaces (Vietnamese) begin where the sub-words of that word do."""
    path = MINI.parents[1] / "data/ud/vi/dev.conllu"
    data = TaggingData(str(MINI), test={"vi": Source(str(path), limit=40)}, eval_batch_size=40)
    (batch,) = list(data.test_dataloader()[0])
    assert (batch["word_starts"] >= 0).sum() == (batch["labels"] >= 0).sum() > 500
    starts = [row[row >= 0] for row in batch["word_starts"]]
    assert all((row.diff() > 0).all() for row in starts)
    assert data._tokenizer is not None
    pieces = data._tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    assert all(pieces[start].startswith("▁") for start in starts[0].tolist())


def test_predictions_are_written_in_the_datas_format(
    make_tokenizer: Callable[..., str], write: Callable[..., str], tmp_path: Path
) -> None:
    """CoNLL-U keeps all but the column; tables and built-in languages give bare lines; IOB2."""
    text = "# id\n1-2\tab\t_\t_\t_\t_\t_\t_\t_\tX=1\n" + conllu("a/NOUN b/VERB")
    text = text.replace("\t0\tdep:sub\t_\t_", "\t0\troot\t_\tSpaceAfter=No")
    path = write("a.conllu", text)
    data = TaggingData(
        make_tokenizer(), predict={"xx": path, "yy": Source("artificial:elmu", limit=1)}
    )
    written = data.save_predictions("xx", [["ADV", "X"]], tmp_path).read_text()
    assert written == text.replace("NOUN", "ADV").replace("VERB", "X")
    (sentence,) = data.examples("predict", "yy")
    lines = data.save_predictions("yy", [["X"] * len(sentence.words)], tmp_path).read_text()
    assert lines.splitlines()[0] == f"1\t{sentence.words[0]}\t_\tX" + "\t_" * 6
    entities = TaggingData(make_tokenizer(), predict={"xx": write("a.txt", "a O\n")}, format="iob2")
    path = entities.save_predictions("xx", [["B-PER"]], tmp_path)
    assert (path.name, path.read_text()) == ("xx.iob2", "a B-PER\n\n")


def test_tokens_with_blanks_come_back_from_predictions(
    make_tokenizer: Callable[..., str], write: Callable[..., str], tmp_path: Path
) -> None:
    """A file with such a token separates by tabs, in all its lines; other files are as ever."""
    path = write("vi.iob2", "hà nội\tB-LOC\nlà\tO\n\nxa\tO\n\n")
    data = TaggingData(make_tokenizer(), predict={"vi": path}, format="iob2")
    tags = [["B-LOC", "O"], ["O"]]
    written = data.save_predictions("vi", tags, tmp_path / "out")
    assert written.read_text() == Path(path).read_text()
    again = read_iob2(written)
    assert [(s.words, s.tags) for s in again] == [(["hà nội", "là"], tags[0]), (["xa"], tags[1])]
