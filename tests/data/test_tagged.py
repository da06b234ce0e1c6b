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


LINES = [
    "1\tA\t_\tDET\tDT\tDefinite=Ind\t2\tdet\t_\t_",
    "2-3\tcats'\t_\t_\t_\t_\t_\t_\t_\t_",
    "2\tcat\t_\tNOUN\tNN\tNumber=Sing\t0\troot\t_\t_",
    "3\t's\t_\tPART\tPOS\t_\t2\tcase:gen\t_\t_",
]


@pytest.mark.parametrize(("column", "number"), [("upos", 4), ("xpos", 5), ("feats", 6)])
def test_the_column_that_is_asked_for_is_read(tmp_path: Path, column: str, number: int) -> None:
    """Judged by the lines themselves; another one is never read in its place."""
    path = tmp_path / "a.conllu"
    path.write_text("\n".join([*LINES, "", ""]), encoding="utf-8")
    source = Source.of(str(path), "data.init_args.test.en")
    (sentence,) = read_tagged(source, "test", format="conllu", column=column)
    cells = [line.split("\t") for line in LINES]
    assert sentence.tags == [row[number - 1] for row in cells if row[0].isdecimal()]


@pytest.mark.parametrize("where", ["file", "artificial:elmu"])
def test_a_column_that_is_not_there_is_refused(tmp_path: Path, where: str) -> None:
    path = tmp_path / "a.conllu"
    path.write_text("\n".join([*LINES, "", ""]), encoding="utf-8")
    source = Source.of(str(path) if where == "file" else where, "data.init_args.test.en")
    with pytest.raises(LtsftError, match=r"`data.init_args.column` .* upos, .* but got 'upoz'"):
        read_tagged(source, "test", format="conllu", column="upoz")


def test_built_in_languages_have_no_language_specific_tags() -> None:
    source = Source.of("artificial:elmu", "data.init_args.test.en")
    with pytest.raises(LtsftError, match="one of upos, deprel of artificial:elmu, but got 'xpos'"):
        read_tagged(source, "test", format="conllu", column="xpos")
