"""Sentence pairs or single sentences with one label, whatever they were read from."""

from collections.abc import Sequence
from dataclasses import dataclass

from ltsft.data.source import Source, Table, artificial_language, string_at
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


def read_pairs(source: Source, role: str, *, texts: Sequence[str], key: str) -> list[LabelledTexts]:
    """Read labelled texts from any source: a table, or the pairs of a built-in language.

    A table without a column `label` has no labels. Numbers as labels become strings.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation`` or ``test``.
        texts: What the texts are held in: names of one or two columns.
        key: The option that gave the source, for error messages.

    Raises:
        LtsftError: If there is no such source, or it is no such table.
    """
    if source.is_artificial:
        language, count, split = artificial_language(source, role)
        if len(texts) != 2:
            raise LtsftError(
                f"`data.init_args.texts` is expected to name two columns for {source.path}, which "
                f"has pairs, but got {', '.join(texts)}; leave it out."
            )
        pairs = language.pairs(count, split)  # type: ignore[arg-type]
        return [LabelledTexts((pair.premise, pair.hypothesis), pair.label) for pair in pairs]
    if source.is_plain_file:
        raise LtsftError(
            f"`{key}` is expected to be a table (*.tsv, *.csv, *.jsonl, *.json, *.parquet, or a "
            f"data set), but {source.path} is named like none; rename it."
        )
    table = Table(source, role, key)
    asked = {name: name for name in texts}
    if table.has_column("label", "label"):
        asked["label"] = "label"
    examples = []
    for place, values in table.rows(**asked):
        strings = [string_at(place, *pair, key) for pair in zip(texts, values, strict=False)]
        label = values[len(texts)] if "label" in asked else None
        examples.append(LabelledTexts(tuple(strings), _label(place, label, key)))
    return examples


def _label(place: str, label: object, key: str) -> str | None:
    if label is None or label in NO_LABEL:
        return None
    if not isinstance(label, str | int):
        raise LtsftError(
            f"`{key}.columns` is expected to name a column of strings or whole numbers for "
            f"`label`, but {place}, has {str(label)[:60]} there."
        )
    return str(label)
