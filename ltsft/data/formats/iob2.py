"""Reading and writing named entities as ``token tag`` lines with IOB2 tags."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ltsft.data.formats.lines import numbered_lines
from ltsft.errors import LtsftError

_TAG = re.compile(r"O|[BI]-\S+")


@dataclass
class EntitySentence:
    """A sentence with entities; both lists have one item per token.

    Args:
        words: Tokens.
        tags: ``O``, ``B-TYPE`` or ``I-TYPE``.
        line: Line of the first token in the file, from 1.
    """

    words: list[str]
    tags: list[str]
    line: int


def read_iob2(path: str | Path, *, limit: int | None = None) -> list[EntitySentence]:
    """Read a file of ``token tag`` lines, with a blank line between sentences.

    Token and tag are separated by a tab or by one space. An ``I-`` tag that continues nothing is
    kept as it is (see :func:`count_stray`): what it means is for the score to say.

    Args:
        path: The file, UTF-8, with or without a byte order mark.
        limit: Read the first so many sentences only.

    Raises:
        LtsftError: If a line has other than two columns or a tag outside IOB2, or if the file is
            not UTF-8 or has no sentence.
    """
    sentences: list[EntitySentence] = []
    words: list[str] = []
    tags: list[str] = []
    first_line = 0
    for number, line in numbered_lines(path):
        if line.strip():
            word, tag = _parse(path, number, line)
            first_line = first_line or number
            words.append(word)
            tags.append(tag)
        elif words:
            sentences.append(EntitySentence(words, tags, first_line))
            words, tags, first_line = [], [], 0
            if limit is not None and len(sentences) >= limit:
                return sentences
    if words:
        sentences.append(EntitySentence(words, tags, first_line))
    if not sentences:
        raise LtsftError(
            f"{path} is expected to have at least one sentence of `token tag` lines, but it has no "
            "token; check that the file was written to its end."
        )
    return sentences


def count_stray(sentences: Iterable[list[str]]) -> int:
    """Count ``I-`` tags that no tag of the same type precedes.

    Example:
        >>> count_stray([["I-PER", "I-PER", "O"], ["B-PER", "I-LOC"]])
        2
    """
    return sum(
        tag.startswith("I-") and previous[2:] != tag[2:]
        for tags in sentences
        for previous, tag in zip(["O", *tags], tags, strict=False)
    )


def format_iob2(words: Sequence[str], tags: Sequence[str], between: str = " ") -> str:
    r"""Write a sentence as ``token tag`` lines and a blank one.

    Args:
        words: Its tokens.
        tags: A tag for each.
        between: What separates the two: a tab where tokens of the file have blanks in them.

    Example:
        >>> format_iob2(["Ada", "ran"], ["B-PER", "O"])
        'Ada B-PER\nran O\n\n'
    """
    return "".join(f"{word}{between}{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


def _parse(path: str | Path, number: int, line: str) -> tuple[str, str]:
    line = line.rstrip(" ")
    columns = line.split("\t" if "\t" in line else " ")
    if len(columns) != 2 or not all(columns):
        raise LtsftError(
            f"{path}, line {number}: a line is expected to be a token and its tag, separated by "
            f"one space or a tab, but got {len(columns)} columns: {line[:60]!r}; keep these two "
            "columns only, and no comments."
        )
    word, tag = columns
    if not _TAG.fullmatch(tag):
        raise LtsftError(
            f"{path}, line {number}: the tag is expected to be O, B-TYPE or I-TYPE (IOB2), but got "
            f"{tag!r}; convert other schemes, such as BIOES, first."
        )
    return word, tag
