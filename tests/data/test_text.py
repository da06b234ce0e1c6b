"""Raw text: line by line from files, tables and built-in languages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from ltsft.data.source import Source
from ltsft.data.text import corpus_key, read_text
from ltsft.errors import LtsftError


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


def test_a_corpus_is_known_by_its_content(write: Callable[..., str]) -> None:
    """Not by its name; the limit is part of it, the option is not."""

    def key(path: str, **options: Any) -> tuple[str, ...]:
        return tuple(corpus_key(Source(path, **options), "train"))

    one, same = write("a.txt", "one\ntwo\n"), write("b.txt", "one\ntwo\n")
    assert key(one) == key(same)
    assert len({key(one), key(one, limit=1), key(write("c.txt", "one\n"))}) == 3
    languages = [key("artificial:elmu", limit=n, seed=s) for n, s in ((5, 0), (6, 0), (5, 1))]
    assert len(set(languages)) == 3
    assert languages[0] == key("artificial:elmu", limit=5)
    table = write("a.jsonl", '{"text": "one", "line": "two"}\n')
    assert key(table) != key(table, columns={"text": "line"})
