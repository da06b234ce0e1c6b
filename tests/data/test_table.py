"""Tables: from files and folders, columns by name; one clear line where there is none."""

import json
from pathlib import Path

import datasets
import pytest

from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.data.tagged import TaggedSentence
from ltsft.errors import LtsftError
from tests.data.test_tagged import read

ROWS = {"tokens": [["a", "b"], ["c"], ["d"]], "tag": [["X", "Y"], ["X"], ["Y"]]}


SENTENCES = [
    TaggedSentence(words, tags) for words, tags in zip(ROWS["tokens"], ROWS["tag"], strict=True)
]


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


def test_a_tables_digest_is_that_of_its_rows(tmp_path: Path) -> None:
    """Another content or limit is another one; another name of the file is not."""

    def digest(name: str, limit: int | None = None) -> str:
        return Table(Source(str(tmp_path / name), limit=limit), "train").fingerprint

    (tmp_path / "a.tsv").write_text("text\none\ntwo\n")
    (tmp_path / "b.tsv").write_text("text\none\ntwo\n")
    (tmp_path / "c.tsv").write_text("text\none\nthree\n")
    assert digest("a.tsv") == digest("b.tsv")
    assert len({digest("a.tsv"), digest("c.tsv"), digest("a.tsv", limit=1)}) == 3
