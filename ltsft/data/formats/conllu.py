"""Reading and writing CoNLL-U, the format of Universal Dependencies.

A thin reader of our own: the libraries we know strip and skip what they do not understand, and
know no line numbers, so that a mistake in a treebank shows as a low score instead of an error.
Format: https://universaldependencies.org/format.html.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ltsft.batch import NOWHERE
from ltsft.data.formats.lines import numbered_lines
from ltsft.data.formats.trees import find_fault
from ltsft.errors import LtsftError

NUM_COLUMNS = 10

_NOT_A_WORD = re.compile(r"\d+-\d+|\d+\.\d+")


@dataclass(slots=True)
class Sentence:
    """A sentence of a treebank; all lists have one item per word.

    Args:
        words: Forms; they may contain spaces (Vietnamese) or be ``_``.
        upos: Universal part-of-speech tags.
        heads: Number of each word's head, from 1; 0 for the root, -1 where not annotated.
        relations: Relation to the head; ``_`` where not annotated.
        line: Line of the first word in the file, from 1.
        text: The sentence as it is in the file, comments and ranges included; kept on request.
        xpos: Language-specific tags; ``_`` where not annotated.
        feats: Morphological features, in one string; ``_`` where there are none.
    """

    words: list[str]
    upos: list[str]
    heads: list[int]
    relations: list[str]
    line: int
    text: str = field(default="", repr=False, compare=False)
    xpos: list[str] = field(default_factory=list, repr=False, compare=False)
    feats: list[str] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.words)


def read_conllu(
    path: str | Path,
    *,
    limit: int | None = None,
    trees: bool = True,
    subtypes: bool = False,
    keep_text: bool = False,
) -> list[Sentence]:
    """Read a CoNLL-U file.

    Multiword ranges (``1-2``) and empty nodes (``8.1``) are skipped: they are no words, and no head
    points to them.

    Args:
        path: The file, UTF-8, with or without a byte order mark.
        limit: Read the first so many sentences only.
        trees: Whether the heads of every sentence need to make a tree with exactly one root, and
            every word needs a relation; if not, both may be ``_``.
        subtypes: Keep the sub-types of relations (``nsubj:pass``); they are cut at the colon
            otherwise, as the official scores do.
        keep_text: Keep the lines of each sentence too, to write it again with other columns.

    Raises:
        LtsftError: If a line has other than ten columns, an empty form or tag, a word number out of
            order, a head that is missing, no number, the word itself or outside the sentence, or no
            relation; if the heads of a sentence are no tree with one root; or if the file is not
            UTF-8 or has no sentence.
    """
    sentences: list[Sentence] = []
    words: list[_Word] = []
    text: list[str] = []
    for number, line in numbered_lines(path):
        if not line.strip():
            if words:
                sentences.append(_finish(path, words, text, trees=trees))
                words, text = [], []
                if limit is not None and len(sentences) >= limit:
                    return sentences
            continue
        if keep_text:
            text.append(line)
        if not line.startswith("#"):
            word = _parse(path, number, line, position=len(words) + 1, trees=trees)
            if word is not None:
                if not subtypes:
                    word.relation = sys.intern(word.relation.split(":")[0])
                words.append(word)
    if words:
        sentences.append(_finish(path, words, text, trees=trees))
    if not sentences:
        raise LtsftError(
            f"{path} is expected to have at least one sentence in CoNLL-U, but it has no word; "
            "check that the file was written to its end."
        )
    return sentences


def format_sentence(
    words: Sequence[str], columns: Mapping[int, Sequence[str]], text: str = ""
) -> str:
    r"""Write a sentence, with columns replaced by others.

    Args:
        words: Its forms.
        columns: Number of a column, from 1 -> its value for each word.
        text: The sentence as it is in its file, of which comments, ranges and all other columns are
            kept; without any, the other columns are ``_``.

    Returns:
        The lines, each with its end, and a blank one.

    Example:
        >>> print(format_sentence(["Hi", "!"], {4: ["INTJ", "PUNCT"]}).replace("\t", " "), end="")
        1 Hi _ INTJ _ _ _ _ _ _
        2 ! _ PUNCT _ _ _ _ _ _
        <BLANKLINE>
    """
    lines = []
    bare = (f"{number}\t{word}" + "\t_" * 8 for number, word in enumerate(words, start=1))
    for line in text.split("\n") if text else bare:
        cells = line.split("\t")
        if cells[0].isdecimal():
            for column, values in columns.items():
                cells[column - 1] = values[int(cells[0]) - 1]
        lines.append("\t".join(cells))
    return "\n".join([*lines, "", ""])


@dataclass(slots=True)
class _Word:
    form: str
    upos: str
    xpos: str
    feats: str
    head: int
    relation: str
    line: int


def _parse(path: str | Path, number: int, line: str, *, position: int, trees: bool) -> _Word | None:
    where = f"{path}, line {number}:"
    columns = line.split("\t")
    if len(columns) != NUM_COLUMNS:
        raise LtsftError(
            f"{where} a line is expected to have {NUM_COLUMNS} columns separated by tabs, but got "
            f"{len(columns)}; columns separated by spaces, and files of another format, are not "
            "CoNLL-U."
        )
    # A treebank has few different ones, which are kept once.
    word_id, form, _, upos, xpos, feats, head, relation, *_ = map(sys.intern, columns)
    if _NOT_A_WORD.fullmatch(word_id):
        return None
    if word_id != str(position):
        raise LtsftError(
            f"{where} the word number (column 1) is expected to be {position}, but got "
            f"{word_id!r}; number words from 1 and put a blank line between sentences."
        )
    for name, value in (("form (column 2)", form), ("UPOS (column 4)", upos)):
        if not value:
            raise LtsftError(
                f"{where} the {name} is expected to have a value, but it is empty; write `_` if "
                "there is none."
            )
    if head == "_" and not trees:
        return _Word(form, upos, xpos, feats, NOWHERE, relation, number)
    if head in ("", "_"):
        raise LtsftError(
            f"{where} the head (column 7) is expected to be a word number, but it is missing; "
            "annotate it, or leave the sentence out."
        )
    if not (head.isascii() and head.isdecimal()):
        raise LtsftError(
            f"{where} the head (column 7) is expected to be a word number, 0 for the root, but got "
            f"{head!r}; check that no column is missing before it."
        )
    if relation in ("", "_") and trees:
        raise LtsftError(
            f"{where} the relation (column 8) is expected to have a value, but it is missing; "
            "annotate it, or leave the sentence out."
        )
    return _Word(form, upos, xpos, feats, int(head), relation, number)


def _finish(path: str | Path, words: list[_Word], text: list[str], *, trees: bool) -> Sentence:
    for position, word in enumerate(words, start=1):
        if word.head == position or word.head > len(words):
            raise LtsftError(
                f"{path}, line {word.line}: the head (column 7) is expected to be another of the "
                f"sentence's {len(words)} words, or 0 for the root, but got {word.head}; check "
                "that the sentence is complete."
            )
    heads = [word.head for word in words]
    if trees and (fault := find_fault(heads)):
        raise LtsftError(
            f"{path}, line {words[fault.word - 1].line}: the heads (column 7) of a sentence are "
            f"expected to make a tree with exactly one root, but {fault.reason}; correct them, or "
            "leave the sentence out."
        )
    return Sentence(
        words=[word.form for word in words],
        upos=[word.upos for word in words],
        heads=heads,
        relations=[word.relation for word in words],
        line=words[0].line,
        text="\n".join(text),
        xpos=[word.xpos for word in words],
        feats=[word.feats for word in words],
    )
