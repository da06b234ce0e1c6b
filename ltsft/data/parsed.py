"""Sentences with dependency trees, whatever they were read from."""

from collections.abc import Iterator, Sequence
from typing import Any

from ltsft.batch import NOWHERE
from ltsft.data.formats.conllu import Sentence, read_conllu
from ltsft.data.formats.plain import is_plain, read_plain
from ltsft.data.formats.trees import find_fault
from ltsft.data.reading import read
from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.errors import LtsftError

_NO_HEAD = (None, "", "_", "None")
"""What tables have for the head of what is no word: multiword ranges and empty nodes. Those of the
hub were made from CoNLL-U with ``str(head)``, which turns a missing head into "None"."""


def read_parsed(source: Source, role: str, *, trees: bool = True) -> list[Sentence]:
    """Read sentences with dependency trees from any source; sub-types of relations are cut.

    Args:
        source: CoNLL-U, a built-in language, or a `datasets` table with the columns `tokens`,
            `head` (numbers, or strings of digits) and `deprel` unless the source names others for
            `words`, `heads` and `relations`. Tokens of a table without a head are no words.
        role: What they are for: ``train``, ``validation``, ``test`` or ``predict``.
        trees: Whether every sentence needs a tree. If not, a table needs no `head` and `deprel`
            either; all tokens of a row without any head are words.

    Raises:
        LtsftError: If there is no such source, it cannot be read, or a tree is missing or none.
    """
    sentences = read(
        source,
        role,
        language=lambda language, number, split: (
            Sentence(s.words, s.tags, s.heads, s.relations, line=line)
            for line, s in enumerate(language.sentences(number, split), start=1)
        ),
        file=lambda path: (
            _plain(path, source.limit)
            if role == "predict" and is_plain(path, num_columns=10)
            else read_conllu(path, limit=source.limit, trees=trees, keep_text=role == "predict")
        ),
        table=lambda table: _read_table(table, trees),
    )
    return list(sentences)


def _plain(path: str, limit: int | None) -> Iterator[Sentence]:
    for number, words in enumerate(read_plain(path, limit=limit), start=1):
        yield without_tree(words, number)


def without_tree(words: Sequence[str], line: int = 1) -> Sentence:
    """A sentence whose tree is not known.

    Args:
        words: Its words.
        line: Where it begins.
    """
    nothing = ["_"] * len(words)
    return Sentence(list(words), nothing, [NOWHERE] * len(words), nothing, line)


def _read_table(table: Table, trees: bool) -> Iterator[Sentence]:
    columns = {"words": "tokens", "heads": "head", "relations": "deprel"}
    if not trees:
        columns = {
            holds: default
            for holds, default in columns.items()
            if holds == "words" or table.has_column(holds, default)
        }
    for number, (place, values) in enumerate(table.rows(**columns), start=1):
        row = dict(zip(columns, values, strict=True))
        gold = row.get("heads"), row.get("relations")
        yield _read_row(f"{place}:", number, row["words"], *gold, trees=trees)


def _read_row(
    where: str, number: int, words: Any, heads: Any, relations: Any, *, trees: bool
) -> Sentence:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise LtsftError(
            f"{where} the words are expected to be a list of strings, but got {str(words)[:60]}; "
            "name the columns in the source's `columns`, e.g. `{words: tokens, heads: head}`."
        )
    if not trees:
        heads, relations = (values or [None] * len(words) for values in (heads, relations))
    for name, values in (("heads", heads), ("relations", relations)):
        if not isinstance(values, list) or len(values) != len(words):
            raise LtsftError(
                f"{where} the {name} are expected to be a list of {len(words)}, one per token, but "
                f"got {str(values)[:60]}; name the columns in the source's `columns`, e.g. "
                "`{heads: head, relations: deprel}`."
            )
    kept = [position for position, head in enumerate(heads) if head not in _NO_HEAD]
    if not kept and not trees:
        kept = list(range(len(words)))
    sentence = Sentence(
        words=[words[position] for position in kept],
        upos=["_"] * len(kept),
        heads=[_as_number(where, heads[position]) for position in kept],
        relations=[str(relations[position] or "_").split(":")[0] for position in kept],
        line=number,
    )
    if not kept:
        raise LtsftError(f"{where} a sentence is expected to have a word, but has none; remove it.")
    if trees and (fault := find_fault(sentence.heads)):
        raise LtsftError(
            f"{where} the heads of a sentence are expected to make a tree with exactly one root, "
            f"but {fault.reason}; correct them, or leave the sentence out."
        )
    if trees and "_" in sentence.relations:
        raise LtsftError(
            f"{where} every word is expected to have a relation, but word "
            f"{sentence.relations.index('_') + 1} has none; annotate it, or leave the sentence out."
        )
    return sentence


def _as_number(where: str, head: Any) -> int:
    if head in _NO_HEAD:
        return NOWHERE
    if isinstance(head, bool) or not (str(head).isascii() and str(head).isdecimal()):
        raise LtsftError(
            f"{where} a head is expected to be a word number, 0 for the root, but got {head!r}; "
            "name the column in the source's `columns`, e.g. `{heads: head}`."
        )
    return int(head)
