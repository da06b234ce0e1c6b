"""Sentences without annotation: a word a line, or a sentence a line."""

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from ltsft.data.formats.lines import numbered_lines
from ltsft.errors import LtsftError


def is_plain(path: str | Path, *, num_columns: int) -> bool:
    """Whether a file has no table of words: its first line has not that many columns.

    Args:
        path: The file, or ``-``.
        num_columns: Of the format that it might have instead: 10 of CoNLL-U, separated by tabs; 2
            of IOB2, by a tab or a blank, of which the second is a tag.
    """
    lines = (line for _, line in numbered_lines(path))
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    columns = first.split("\t" if "\t" in first or num_columns > 2 else " ")
    is_tag = columns[-1] == "O" or columns[-1][:2] in ("B-", "I-")
    return len(columns) != num_columns or (num_columns == 2 and not is_tag)


def read_plain(path: str | Path, *, limit: int | None = None) -> list[list[str]]:
    """Read sentences without annotation, as lists of words.

    Where most lines are one piece, a line is a word (of Vietnamese some have blanks in them), and a
    blank line ends a sentence. Where most have blanks in them, a line is a sentence: words are what
    blanks separate, and punctuation at their ends is split off. Where there are both it is said how
    lines are read.

    Args:
        path: A UTF-8 file, or ``-`` for what comes through a pipe.
        limit: Read the first so many sentences only.

    Raises:
        LtsftError: If there is no word.
    """
    lines = [line.strip() for _, line in numbered_lines(path)]
    num_lines = sum(map(bool, lines))
    num_pieces = sum(len(line.split()) > 1 for line in lines)
    is_of_sentences = 0 < num_lines <= 2 * num_pieces
    if 0 < num_pieces < num_lines:
        rank_zero_info(
            f"{path} is read as a {'sentence' if is_of_sentences else 'word'} a line, for "
            f"{num_pieces:,} of {num_lines:,} lines have blanks in them; CoNLL-U says it for sure."
        )
    if is_of_sentences:
        sentences = [words for line in lines if (words := split_words(line))]
    else:
        sentences = [list(group) for has_word, group in groupby(lines, key=bool) if has_word]
    if not sentences:
        raise LtsftError(
            f"{path} is expected to have at least one sentence, but it has no word; a line is a "
            "sentence, or a word with blank lines between sentences."
        )
    return sentences[:limit]


def split_words(text: str) -> list[str]:
    """Split running text into words: at blanks, and off punctuation at their ends.

    Good enough to try a tagger on; for a language's own conventions give a word a line.

    Example:
        >>> split_words("Don't (even) ask, «why»…")
        ["Don't", '(', 'even', ')', 'ask', ',', '«', 'why', '»', '…']
    """
    return [part for word in text.split() for part in _split_word(word)]


def _split_word(word: str) -> Iterator[str]:
    start, end = 0, len(word)
    while start < end and _is_punctuation(word[start]):
        start += 1
    while end > start and _is_punctuation(word[end - 1]):
        end -= 1
    for part in (*word[:start], word[start:end], *word[end:]):
        if part:
            yield part


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
