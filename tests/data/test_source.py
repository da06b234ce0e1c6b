"""Sources: files, built-in languages, tables; and one clear line where there is none."""

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.data.tagged import TaggedSentence, read_tagged
from ltsft.data.text import read_text
from ltsft.errors import LtsftError

ROWS = {"tokens": [["a", "b"], ["c"], ["d"]], "tag": [["X", "Y"], ["X"], ["Y"]]}
SENTENCES = [
    TaggedSentence(words, tags) for words, tags in zip(ROWS["tokens"], ROWS["tag"], strict=True)
]


def read(source: Source, role: str = "train") -> list[TaggedSentence]:
    source = Source.of(source, f"data.init_args.{role}.en")
    return read_tagged(source, role, format="conllu", column="upos")


def write_json(path: Path) -> None:
    path.write_text(
        "".join(
            json.dumps({"tokens": s.words, "tag": s.tags}, ensure_ascii=False) + "\n"
            for s in SENTENCES
        )
    )


def test_table_files(tmp_path: Path) -> None:
    """A parquet or JSON file is read whole whatever it is for, columns go by `columns`."""
    datasets.Dataset.from_dict(ROWS).to_parquet(tmp_path / "rows.parquet")
    write_json(tmp_path / "rows.jsonl")
    for name in ("rows.parquet", "rows.jsonl"):
        source = Source(str(tmp_path / name), columns={"tags": "tag"})
        assert read(source) == read(source, "test") == SENTENCES
        source.limit = 2
        assert read(source) == SENTENCES[:2]
        source.limit = 9
        assert read(source) == SENTENCES


def test_folder(tmp_path: Path) -> None:
    """A folder is a data set; the split is the role unless given."""
    datasets.Dataset.from_dict(ROWS).to_parquet(tmp_path / "data/train.parquet")
    datasets.Dataset.from_dict({name: rows[1:] for name, rows in ROWS.items()}).to_parquet(
        tmp_path / "data/test.parquet"
    )
    columns = {"words": "tokens", "tags": "tag"}
    assert read(Source(str(tmp_path / "data"), columns=columns)) == SENTENCES
    assert read(Source(str(tmp_path / "data"), columns=columns), "test") == SENTENCES[1:]
    assert read(Source(str(tmp_path / "data"), split="test", columns=columns)) == SENTENCES[1:]
    with pytest.raises(LtsftError, match=r'data.init_args.validation.en` .* split "validation"'):
        read(Source(str(tmp_path / "data")), "validation")


def test_label_ids_become_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "upos": datasets.List(datasets.ClassLabel(names=["Y", "X"])),
        }
    )
    rows = {"tokens": ROWS["tokens"], "upos": [[1, 0], [1], [0]]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    assert read(Source(str(tmp_path / "rows.parquet"))) == SENTENCES


def test_text_table(tmp_path: Path) -> None:
    rows = {"line": ["one", " ", "two"], "number": [1, 2, 3]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "t.parquet")
    path = str(tmp_path / "t.parquet")
    assert list(read_text(Source.of(Source(path, columns={"text": "line"}), "k"), "train")) == [
        "one",
        "two",
    ]
    with pytest.raises(LtsftError, match=r"`k.columns` .* column of strings for `text`.* has 1"):
        read_text(Source.of(Source(path, columns={"text": "number"}), "k"), "train")
    with pytest.raises(LtsftError, match=r"`k.columns` .* columns line, number .* got 'text'"):
        read_text(Source.of(Source(path), "k"), "train")


def test_text_file(write: Callable[..., str]) -> None:
    path = write("t.txt", "\ufeffone\u2028still one\n\n \ntwo\r\nthree")
    assert list(read_text(Source.of(Source(path), "k"), "train")) == [
        "one\u2028still one",
        "two",
        "three",
    ]
    assert list(read_text(Source.of(Source(path, limit=2), "k"), "train")) == [
        "one\u2028still one",
        "two",
    ]


def test_no_text(write: Callable[..., str]) -> None:
    with pytest.raises(LtsftError, match=r"`k` is expected to have text, but .* only blanks"):
        read_text(Source.of(Source(write("t.txt", "\n \n")), "k"), "train")


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


def test_built_in_language_not_found() -> None:
    with pytest.raises(LtsftError, match="artificial language is expected .* got 'klingon'"):
        read(Source("artificial:klingon"))
    with pytest.raises(LtsftError, match="`split` of artificial:elmu .* got 'dev'"):
        read(Source("artificial:elmu", split="dev"))


@pytest.mark.parametrize("path", ["data/en.conllu", "/no/where", "no-such/name", "name", "a.json"])
def test_nothing_there(path: str) -> None:
    """One line that says what was tried and why it failed, not a library's traceback."""
    message = (
        rf"`data.init_args.train.en` .* '{path}' is neither a file, nor `artificial:<language>`, "
        r"nor a data set that could be loaded: \w+"
    )
    with pytest.raises(LtsftError, match=message) as caught:
        read(Source(path))
    assert "\n" not in str(caught.value)


def test_broken_table(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(LtsftError, match="could be loaded: .*[Pp]arquet"):
        read(Source(str(tmp_path / "broken.parquet")))


def test_table_without_rows(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(ROWS).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(LtsftError, match=r"`k` is expected .* corresponds to no data"):
        Table(Source.of(Source(str(tmp_path / "none.parquet"), split="train[:0]"), "k"), "train")


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


def test_source_out_of_range() -> None:
    with pytest.raises(LtsftError, match="`path` of a data source .* empty"):
        Source("")
    with pytest.raises(LtsftError, match="`limit` of the data source x .* got 0"):
        Source("x", limit=0)


def test_a_tables_digest_is_that_of_its_rows(tmp_path: Path) -> None:
    """Another content or limit is another one; another name of the file is not."""

    def digest(name: str, limit: int | None = None) -> str:
        return Table(Source(str(tmp_path / name), limit=limit), "train").fingerprint

    (tmp_path / "a.tsv").write_text("text\none\ntwo\n")
    (tmp_path / "b.tsv").write_text("text\none\ntwo\n")
    (tmp_path / "c.tsv").write_text("text\none\nthree\n")
    assert digest("a.tsv") == digest("b.tsv")
    assert len({digest("a.tsv"), digest("c.tsv"), digest("a.tsv", limit=1)}) == 3
