"""Tables in text files, row by row, with errors that name the line: TSV, CSV, JSON."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ltsft.data.formats.lines import numbered_lines
from ltsft.errors import LtsftError


class Row(NamedTuple):
    """A row of a table.

    Args:
        place: Where it is, e.g. ``dev.tsv, line 3``.
        values: What it holds, by column.
    """

    place: str
    values: dict[str, Any]


def read_rows(path: str | Path) -> Iterator[Row]:
    """Read the rows of a table in a text file, UTF-8 with or without a byte order mark.

    ``*.tsv``: a header, then a row per line; columns are separated by tabs. Quotes are ordinary
    characters: readers that give them a meaning silently join lines where a text has a quote at its
    beginning. ``*.csv``: a header, then rows with commas; here quotes do have their usual meaning.
    ``*.jsonl`` and ``*.json``: an object per line, or one list of objects. Blank lines are left
    out.

    Args:
        path: The file.

    Raises:
        LtsftError: If the file cannot be read, is not UTF-8, has no row, or has one that is not
            like the header says.
    """
    path = Path(path)
    read = {".tsv": _read_tsv, ".csv": _read_csv}.get(path.suffix, _read_json)
    row = None
    for row in read(path):
        yield row
    if row is None:
        raise LtsftError(
            f"{path} is expected to have at least one row, but it has none; check that the file "
            "was written to its end."
        )


def _read_tsv(path: Path) -> Iterator[Row]:
    lines = ((number, line.split("\t")) for number, line in numbered_lines(path) if line)
    return _below_header(path, lines, "tabs")


def _read_csv(path: Path) -> Iterator[Row]:
    reader = csv.reader((f"{line}\n" for _, line in numbered_lines(path)), strict=True)

    def lines() -> Iterator[tuple[int, list[str]]]:
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise LtsftError(
                f"{path}, line {reader.line_num}: a row is expected to be CSV, but: {error}; put a "
                'value with a comma or a quote in "quotes", quotes in it doubled, or save as TSV.'
            ) from error

    return _below_header(path, lines(), "commas")


def _below_header(
    path: Path, lines: Iterator[tuple[int, list[str]]], between: str
) -> Iterator[Row]:
    _, header = next(lines, (0, []))
    if len(set(header)) < len(header):
        raise LtsftError(
            f"{path}, line 1: the header is expected to name different columns, but got "
            f"{', '.join(header)[:200]}; write a line of column names first."
        )
    for number, cells in lines:
        if len(cells) != len(header):
            raise LtsftError(
                f"{path}, line {number}: a row is expected to have {len(header)} columns between "
                f"{between}, as the header has, but got {len(cells)}: {cells[0][:40]!r} …; remove "
                f"{between} and line breaks from its texts, or add what is missing."
            )
        yield Row(f"{path}, line {number}", dict(zip(header, cells, strict=True)))


def _read_json(path: Path) -> Iterator[Row]:
    lines = numbered_lines(path)
    for number, line in lines:
        if line.lstrip().startswith("["):
            yield from _items(path, number, "\n".join([line, *(rest for _, rest in lines)]))
        elif line.strip():
            yield _object(f"{path}, line {number}", _parse(path, number, line))


def _items(path: Path, first_line: int, text: str) -> Iterator[Row]:
    for number, item in enumerate(_parse(path, first_line, text), start=1):
        yield _object(f"{path}, item {number}", item)


def _parse(path: Path, first_line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise LtsftError(
            f"{path}, line {first_line + error.lineno - 1}: expected is a JSON object in each "
            f"line, or one list of objects, but got at column {error.colno}: {error.msg}."
        ) from error


def _object(place: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise LtsftError(
            f'{place}: a JSON object is expected, such as {{"text": …}}, but got '
            f"{json.dumps(value, ensure_ascii=False)[:60]}."
        )
    return Row(place, value)
