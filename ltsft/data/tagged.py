"""Sentences with one tag per word, whatever they were read from."""

from dataclasses import dataclass, field
from typing import Literal

from ltsft.data.formats.conllu import read_conllu
from ltsft.data.formats.iob2 import read_iob2
from ltsft.data.source import Source, Table, artificial_language
from ltsft.errors import LtsftError

TagFormat = Literal["conllu", "iob2"]

_DEFAULT_COLUMN = {"iob2": "ner_tags"}


@dataclass
class TaggedSentence:
    """Words and their tags, one each.

    Args:
        words: Word forms.
        tags: Gold tags.
        text: The sentence's own lines in a CoNLL-U file, else none.
    """

    words: list[str]
    tags: list[str]
    text: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if len(self.words) != len(self.tags):
            raise LtsftError(
                f"a sentence is expected to have one tag per word, but got {len(self.words)} words "
                f"and {len(self.tags)} tags: {' '.join(self.words)[:60]!r}."
            )


def read_tagged(
    source: Source, role: str, *, format: TagFormat, column: str, key: str
) -> list[TaggedSentence]:
    """Read tagged sentences from any source.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation`` or ``test``.
        format: Format of files; also says which tags of a built-in language are meant, parts of
            speech (``conllu``) or entities (``iob2``).
        column: ``upos`` or ``deprel`` in CoNLL-U; in a `datasets` table the default column of tags.
        key: The option that gave the source, for error messages.

    Raises:
        LtsftError: If there is no such source, or it cannot be read in that format.
    """
    if source.is_artificial:
        language, count, split = artificial_language(source, role)
        sentences = language.sentences(count, split)  # type: ignore[arg-type]
        if format == "iob2":
            return [TaggedSentence(list(s.words), list(s.entities)) for s in sentences]
        return [
            TaggedSentence(list(s.words), list(s.relations if column == "deprel" else s.tags))
            for s in sentences
        ]
    if source.is_plain_file:
        if format == "iob2":
            return [
                TaggedSentence(sentence.words, sentence.tags)
                for sentence in read_iob2(source.path, limit=source.limit)
            ]
        return [
            TaggedSentence(s.words, s.relations if column == "deprel" else s.upos, s.text)
            for s in read_conllu(source.path, limit=source.limit, trees=column == "deprel")
        ]
    table = Table(source, role, key)
    rows = table.rows(words="tokens", tags=_DEFAULT_COLUMN.get(format, column))
    return [
        TaggedSentence(_strings(place, "words", words, key), _strings(place, "tags", tags, key))
        for place, (words, tags) in rows
    ]


def _strings(place: str, holds: str, values: object, key: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise LtsftError(
            f"`{key}.columns` is expected to name a column of lists of strings, or of label ids "
            f"with names, for `{holds}`, but {place}, has {str(values)[:60]} there."
        )
    return values
