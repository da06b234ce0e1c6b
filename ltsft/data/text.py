"""Raw text line by line, whatever it is read from."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from ltsft.data.encoding.digest import digest, file_digest
from ltsft.data.formats.lines import numbered_lines
from ltsft.data.formats.plain import is_plain
from ltsft.data.reading import read
from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.errors import LtsftError


def read_text(source: Source, role: str) -> Iterator[str]:
    """Read the lines of a corpus one by one; blank ones are left out.

    Args:
        source: Where it is; in a `datasets` table the rows of the column `text`.
        role: What it is for: ``train`` or ``validation``.

    Raises:
        LtsftError: If there is no such source, it cannot be read, or it has no line.
    """
    lines = _non_blank(
        read(
            source,
            role,
            language=lambda language, number, split: language.text(number, split),
            file=lambda path: _lines_of_text(source, path),
            table=_read_table,
        )
    )
    first = next(lines, None)
    if first is None:
        raise LtsftError(
            f"`{source.option}` is expected to have text, but {source.path} has only blanks."
        )
    return chain([first], islice(lines, source.limit and source.limit - 1))


def corpus_key(source: Source, role: str) -> list[str]:
    """What tells a corpus from every other one, without going through its lines in Python.

    Args:
        source: Where it is.
        role: What it is for.
    """
    parts = read(
        source,
        role,
        language=lambda language, number, split: [digest(read_text(source, role))],
        file=lambda path: [file_digest(path), str(source.limit)],
        table=lambda table: [table.fingerprint, source.columns.get("text", "text")],
    )
    return list(parts)


def _lines_of_text(source: Source, path: str) -> Iterator[str]:
    for num_columns, what in ((10, "a treebank (CoNLL-U)"), (2, "tagged words (IOB2)")):
        if not is_plain(path, num_columns=num_columns):
            raise LtsftError(
                f"`{source.option}` is expected to be text, a sentence or paragraph per line, but "
                f"{path} is {what}; take its sentences out first, of a treebank for example by "
                "`sed -n 's/^# text = //p'`."
            )
    return (line for _, line in numbered_lines(path))


def _read_table(table: Table) -> Iterator[str]:
    for place, (text,) in table.rows(text="text"):
        yield table.string(place, "text", text)


def _non_blank(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())
