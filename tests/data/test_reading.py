"""From a source to examples: which way is taken, and what is refused."""

from collections.abc import Callable

import pytest

from ltsft.data.reading import read
from ltsft.data.source import Source
from ltsft.errors import LtsftError
from tests.data.test_tagged import read as read_tags


def test_built_in_language_not_found() -> None:
    with pytest.raises(LtsftError, match="artificial language is expected .* got 'klingon'"):
        read_tags(Source("artificial:klingon"))
    with pytest.raises(LtsftError, match="`split` of artificial:elmu .* got 'dev'"):
        read_tags(Source("artificial:elmu", split="dev"))


def ways(source: Source, role: str = "train", suffix: str | None = None) -> list[str]:
    """Which way was taken, and what was handed on."""
    taken = read(
        source,
        role,
        language=lambda language, number, split: [f"{language.name} {number} {split}"],
        file=lambda path: [f"file {path}"],
        table=lambda table: [f"table {table.column_names}"],
        suffix=suffix,
    )
    return list(taken)


def test_each_kind_of_source_has_one_way(write: Callable[..., str]) -> None:
    """A format may claim files that are tables elsewhere, but no other ones."""
    text, table, json = write("a.txt", "x"), write("a.tsv", "x\ty\n1\t2\n"), write("a.json", "[]")
    assert ways(Source(text)) == ways(Source(text), suffix=".json") == [f"file {text}"]
    assert ways(Source(table)) == ways(Source(table), suffix=".json") == ["table ['x', 'y']"]
    assert ways(Source(json), suffix=".json") == [f"file {json}"]
    with pytest.raises(LtsftError, match=r"a.json is expected to have at least one row"):
        ways(Source(json))


def test_how_much_of_a_built_in_language() -> None:
    assert [ways(Source("artificial:elmu"), role) for role in ("train", "validation", "test")] == [
        *(["elmu 1000 train"], ["elmu 200 validation"], ["elmu 300 test"])
    ]
    assert ways(Source("artificial:elmu"), "predict") == ["elmu 300 test"]
    assert ways(Source("artificial:elmu", split="test", limit=7)) == ["elmu 7 test"]
