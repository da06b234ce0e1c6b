"""Sentence pairs or single sentences with one label, whatever they were read from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ltsft.data.artificial.language import Language, Split
from ltsft.data.formats.lines import numbered_lines
from ltsft.data.reading import read
from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.errors import LtsftError

NO_LABEL = ("-", "")
"""Labels that say there is none: SNLI and MultiNLI mark pairs without a majority by a dash."""


@dataclass
class LabelledTexts:
    """One or two texts and what they are.

    Args:
        texts: The sentence, or premise and hypothesis.
        label: Gold label; ``None`` if there is none.
    """

    texts: tuple[str, ...]
    label: str | None


def read_pairs(source: Source, role: str, *, texts: Sequence[str]) -> list[LabelledTexts]:
    """Read labelled texts from any source: a table, or the pairs of a built-in language.

    A table without a column `label` has no labels. Numbers as labels become strings. What single
    sentences are to be predicted of may be plain text, a sentence a line.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation``, ``test`` or ``predict``.
        texts: What the texts are held in: names of one or two columns.

    Raises:
        LtsftError: If there is no such source, or it is no such table.
    """

    def of_language(language: Language, number: int, split: Split) -> Iterator[LabelledTexts]:
        if len(texts) != 2:
            raise LtsftError(
                f"`data.init_args.texts` is expected to name two columns for {source.path}, which "
                f"has pairs, but got {', '.join(texts)}; leave it out."
            )
        for pair in language.pairs(number, split):
            yield LabelledTexts((pair.premise, pair.hypothesis), pair.label)

    def of_file(path: str) -> Iterable[LabelledTexts]:
        if role == "predict" and len(texts) == 1:
            lines = (line.strip() for _, line in numbered_lines(path))
            return [LabelledTexts((line,), None) for line in lines if line][: source.limit]
        raise LtsftError(
            f"`{source.option}` is expected to be a table (*.tsv, *.csv, *.jsonl, *.json, "
            f"*.parquet, or a data set), but {path} is named like none; rename it."
        )

    def of_table(table: Table) -> Iterator[LabelledTexts]:
        columns = {name: name for name in texts}
        if table.has_column("label", "label"):
            columns["label"] = "label"
        for place, values in table.rows(**columns):
            strings = [table.string(place, *pair) for pair in zip(texts, values, strict=False)]
            label = values[len(texts)] if "label" in columns else None
            yield LabelledTexts(tuple(strings), _label(table, place, label))

    return list(read(source, role, language=of_language, file=of_file, table=of_table))


def _label(table: Table, place: str, label: object) -> str | None:
    if label is None or label in NO_LABEL:
        return None
    if not isinstance(label, str | int):
        raise LtsftError(
            f"`{table.source.option}.columns` is expected to name a column of strings or whole "
            f"numbers for `label`, but {place}, has {str(label)[:60]} there."
        )
    return str(label)
