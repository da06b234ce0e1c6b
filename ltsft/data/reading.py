"""From a source to examples: the one place that tells the kinds of sources apart."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar, cast

from ltsft.data.artificial import Language, family
from ltsft.data.artificial.language import Split
from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.errors import LtsftError

ARTIFICIAL_SENTENCES = {"train": 1000, "validation": 200, "test": 300}
"""Sentences of a built-in language, by split, where no `limit` is given."""

Example = TypeVar("Example")


def read(
    source: Source,
    role: str,
    *,
    language: Callable[[Language, int, Split], Iterable[Example]],
    file: Callable[[str], Iterable[Example]],
    table: Callable[[Table], Iterable[Example]],
    suffix: str | None = None,
) -> Iterable[Example]:
    """Read examples from whatever they are in.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation``, ``test`` or ``predict``.
        language: Makes examples of a built-in language: so many, of that split.
        file: Reads a file in the examples' own format, as far as `limit` says.
        table: Reads a table.
        suffix: What files in the examples' own format end in, if others do that are tables.

    Raises:
        LtsftError: If there is no such source, or what reads it raises one.
    """
    if source.is_artificial:
        return language(*_made(source, role))
    if source.is_plain_file or (source.is_file and Path(source.path).suffix == suffix):
        return file(source.path)
    return table(Table(source, role))


def _made(source: Source, role: str) -> tuple[Language, int, Split]:
    """The built-in language of a source, how many sentences of it, and the split."""
    split = source.split_for(role)
    if split not in ARTIFICIAL_SENTENCES:
        raise LtsftError(
            f"`split` of {source.path} is expected to be one of "
            f"{', '.join(ARTIFICIAL_SENTENCES)}, but got {split!r}."
        )
    number = source.limit or ARTIFICIAL_SENTENCES[split]
    return family(source.seed)[source.language], number, cast(Split, split)
