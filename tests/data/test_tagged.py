"""Tagged sentences from built-in languages and tables."""

from pathlib import Path

import datasets
import pytest

from ltsft.data.source import Source
from ltsft.data.tagged import TaggedSentence, read_tagged
from ltsft.data.text import read_text
from ltsft.errors import LtsftError


def read(source: Source, role: str = "train") -> list[TaggedSentence]:
    source = Source.of(source, f"data.init_args.{role}.en")
    return read_tagged(source, role, format="conllu", column="upos")


def test_built_in_languages() -> None:
    """Parts of speech or entities by format, other sentences by split, sizes by default."""
    source = Source("artificial:elmu")
    train, test = read(source), read(source, "test")
    assert (len(train), len(read(source, "validation")), len(test)) == (1000, 200, 300)
    assert read(Source("artificial:elmu", limit=5)) == train[:5]
    assert read(Source("artificial:elmu", split="test", limit=5)) == test[:5]
    assert read(Source("artificial:elmu", seed=1)) != train
    assert {tag for s in train for tag in s.tags} >= {"NOUN", "VERB"}
    entities = read_tagged(source, "train", format="iob2", column="upos")
    assert {"O", "B-PER"} <= {tag for s in entities for tag in s.tags}
    relations = read_tagged(source, "train", format="conllu", column="deprel")
    assert "root" in {tag for s in relations for tag in s.tags}
    assert len(list(read_text(Source.of(Source("artificial:elmu", limit=7), "k"), "train"))) == 7
    assert Source("artificial:elmu").language == "elmu"
    assert Source("texts/hsb.txt").language == "hsb"


def test_tables_of_another_kind(tmp_path: Path) -> None:
    rows = {"tokens": [["a", "b"]], "upos": [[3, 4]], "short": [["X"]]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "ids.parquet")
    path = str(tmp_path / "ids.parquet")
    with pytest.raises(LtsftError, match=r"lists of strings, or of label ids .* `tags`.*\[3, 4\]"):
        read(Source(path))
    with pytest.raises(LtsftError, match=r"one tag per word, but got 2 words and 1 tags: 'a b'"):
        read(Source(path, columns={"tags": "short"}))
    with pytest.raises(LtsftError, match=r"train.en.columns` .* `words`, but got 'forms'"):
        read(Source(path, columns={"words": "forms"}))
