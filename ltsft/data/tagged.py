"""Sentences with one tag per word, whatever they were read from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ltsft.data.artificial.language import Language, Split
from ltsft.data.formats.conllu import read_conllu
from ltsft.data.formats.iob2 import read_iob2
from ltsft.data.formats.plain import is_plain, read_plain
from ltsft.data.reading import read
from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.errors import LtsftError

TagFormat = Literal["conllu", "iob2"]

_DEFAULT_COLUMN = {"iob2": "ner_tags"}

CONLLU_TAGS = {"upos": 4, "xpos": 5, "feats": 6, "deprel": 8}
"""Columns of CoNLL-U that hold a tag for each word, and their numbers."""


@dataclass(slots=True)
class TaggedSentence:
    """Words and their tags, one each.

    Args:
        words: Word forms.
        tags: Gold tags.
        text: What is to be predicted for, as it is in a CoNLL-U file; else empty.
    """

    words: list[str]
    tags: list[str]
    text: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if len(self.words) != len(self.tags):
            raise LtsftError(
                f"a sentence is expected to have one tag per word, but got {len(self.words)} words "
                f"and {len(self.tags)} tags: {' '.join(self.words)[:60]!r}."
            )


def read_tagged(
    source: Source, role: str, *, format: TagFormat, column: str
) -> list[TaggedSentence]:
    """Read tagged sentences from any source.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation``, ``test`` or ``predict``.
        format: Format of files; also says which tags of a built-in language are meant, parts of
            speech (``conllu``) or entities (``iob2``).
        column: A key of :data:`CONLLU_TAGS` in CoNLL-U, ``upos`` or ``deprel`` in a built-in
            language; in a `datasets` table the default column of tags, whatever its name.

    Raises:
        LtsftError: If there is no such source, it cannot be read in that format, or has no such
            column.
    """

    def check_column(known: Iterable[str], where: str) -> None:
        if format == "conllu" and column not in known:
            raise LtsftError(
                f"`data.init_args.column` is expected to be one of {', '.join(known)} {where}, but "
                f"got {column!r}."
            )

    def of_language(language: Language, number: int, split: Split) -> Iterator[TaggedSentence]:
        check_column(("upos", "deprel"), f"of {source.path}")
        for s in language.sentences(number, split):
            tags = s.relations if column == "deprel" else s.tags
            yield TaggedSentence(list(s.words), list(s.entities if format == "iob2" else tags))

    def of_file(path: str) -> Iterator[TaggedSentence]:
        if role == "predict" and is_plain(path, num_columns=2 if format == "iob2" else 10):
            for words in read_plain(path, limit=source.limit):
                yield TaggedSentence(words, ["_"] * len(words))
            return
        if format == "iob2":
            for entity in read_iob2(path, limit=source.limit):
                yield TaggedSentence(entity.words, entity.tags)
            return
        check_column(CONLLU_TAGS, f"in CoNLL-U ({source.path})")
        for s in read_conllu(
            path, limit=source.limit, trees=column == "deprel", keep_text=role == "predict"
        ):
            tags = s.relations if column == "deprel" else getattr(s, column)
            yield TaggedSentence(s.words, tags, s.text)

    def of_table(table: Table) -> Iterator[TaggedSentence]:
        for place, row in table.rows(words="tokens", tags=_DEFAULT_COLUMN.get(format, column)):
            words, tags = (
                _strings(table, place, holds, values)
                for holds, values in zip(("words", "tags"), row, strict=True)
            )
            yield TaggedSentence(words, tags)

    return list(read(source, role, language=of_language, file=of_file, table=of_table))


def _strings(table: Table, place: str, holds: str, values: object) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise LtsftError(
            f"`{table.source.option}.columns` is expected to name a column of lists of strings, or "
            f"of label ids with names, for `{holds}`, but {place}, has {str(values)[:60]} there."
        )
    return values
