"""Rows of text tables: what is read, and file, line and remedy of what cannot be."""

import csv
import io
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from ltsft.data.formats.rows import read_rows
from ltsft.errors import LtsftError

Write = Callable[..., str]


def values(path: str) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(path)]


def test_quotes_in_tsv_are_ordinary_characters(write: Write) -> None:
    """As the csv module with QUOTE_NONE; its default joins the lines between two quotes."""
    text = (
        'id\tpremise\tlabel\n1\t"He said so\ta\n2\tnobody came"\tb\n3\tit\'s "so"\tc\n4\t\tNone\n'
    )
    plain = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert values(write("a.tsv", text)) == list(plain)
    joined = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert len(joined) == 3  # the trap


def test_tsv_keeps_what_is_in_a_cell(write: Write) -> None:
    """Blanks and odd line separators stay; byte order marks, CRLF and blank lines go."""
    path = write("a.tsv", "\ufeffa\tb\r\n x \ty\u2028z\r\n\r\n\t\r\n")
    assert values(path) == [{"a": " x ", "b": "y\u2028z"}, {"a": "", "b": ""}]
    assert [row.place for row in read_rows(path)] == [f"{path}, line 2", f"{path}, line 4"]


def test_csv_is_what_the_csv_module_wrote(write: Write) -> None:
    rng = random.Random(0)
    rows = [["".join(rng.choices('ab ",\n', k=6)) for _ in range(3)] for _ in range(50)]
    out = io.StringIO()
    csv.writer(out).writerows([["x", "y", "z"], *rows])
    read = values(write("a.csv", out.getvalue()))
    assert [list(row.values()) for row in read] == rows


@pytest.mark.parametrize("form", ["lines", "list", "pretty list"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json(write: Write, form: str, name: str) -> None:
    rows = [{"text": "ä\u2028\n", "label": 1}, {"text": "", "label": None}]
    if form == "lines":
        text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    else:
        text = json.dumps(rows, indent=2 if form == "pretty list" else None)
    assert values(write(name, text)) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", "a.tsv is expected to have at least one row, but it has none"),
        ("a.tsv", "a\tb\n", "a.tsv is expected to have at least one row"),
        ("a.csv", "", "a.csv is expected to have at least one row"),
        ("a.jsonl", "\n", "a.jsonl is expected to have at least one row"),
        ("a.tsv", "a\tb\n1\t2\n1\n", "a.tsv, line 3: .* 2 columns between tabs, .* got 1: '1'"),
        ("a.tsv", "a\tb\n1\t2\t3\n", "a.tsv, line 2: .* 2 columns .* got 3: .*; remove tabs"),
        ("a.csv", 'a,b\n"1\n2",3\n4\n', "a.csv, line 4: .* 2 columns between commas, .* got 1"),
        ("a.csv", 'a,b\n"1" 2,3\n', "a.csv, line 2: a row is expected to be CSV, but: .* expected"),
        ("a.csv", 'a,b\n"1,2\n', "a.csv, line 2: .* CSV, but: unexpected end of data; put a value"),
        ("a.tsv", "a\ta\n1\t2\n", "a.tsv, line 1: the header .* different columns, but got a, a"),
        ("a.tsv", b"a\tb\n1\t\xe9\n", "a.tsv, line 2: .* UTF-8, but got the byte 0xe9; convert it"),
        ("a.jsonl", b'{"a": "\xe9"}', "a.jsonl, line 1: .* UTF-8, but got the byte 0xe9"),
        ("a.jsonl", '{"a": 1}\n{"a": }\n', "a.jsonl, line 2: .* at column 7: Expecting value"),
        ("a.json", '[\n{"a": 1},\n{"a" 1}]', "a.json, line 3: .* at column 6: Expecting ':'"),
        ("a.json", '{\n "data": []\n}', "a.json, line 1: expected is a JSON object in each line"),
        ("a.jsonl", '{"a": 1}\n3\n', "a.jsonl, line 2: a JSON object is expected.*, but got 3"),
        ("a.json", '[{"a": 1}, "b"]', 'a.json, item 2: a JSON object is expected.*, but got "b"'),
    ],
)
def test_broken_files(write: Write, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(LtsftError, match=message) as caught:
        values(write(name, content))
    assert "\n" not in str(caught.value)


def test_no_file() -> None:
    with pytest.raises(LtsftError, match="no.tsv is expected to be a readable file, but got: No"):
        values("no.tsv")
