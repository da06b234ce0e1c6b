"""What a sparse fine-tuning says about itself."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ltsft.errors import LtsftError, printable
from ltsft.sparse.guarded_json import read_json

LANGUAGE_TASK = "masked-lm"
"""The task of language fine-tunings."""


@dataclass
class Metadata:
    """Where a sparse fine-tuning comes from and what it is for.

    Args:
        base_model: Name or path of the pretrained model.
        base_revision: Its resolved revision, where it has one.
        base_digests: Digests of parameters of the pretrained model, without any fine-tuning: of
            each maskable one, or of those that were beside an adapter. Compared when the
            fine-tuning is applied.
        tied: Names of tied parameters in training; a weight that was untied in training must not be
            applied to a model that ties it.
        trained_with: Names of the fine-tunings that were under it in training and are not part of
            it (the source language's, for a task).
        task: ``masked-lm``, ``pos``, …; ``None`` when unknown.
        language: Language code of the training data.
        labels: Label names in the order of the head's outputs.
        slots: Adapter slots that its whole tensors fill, name -> description. A model must have
            them, with the same description in its ``adapter_slots``.
        selection: How the entries were chosen, e.g. ``LargestChange``.
        rounds: How often was selected, and how, e.g. ``Growing(3)``.
        rewinding: Where the sparse phase started, e.g. ``ToStart``; ``None`` without a dense phase.
        num_params: K, the number of selected entries.
        num_maskable: Number of maskable entries they were chosen from.
        num_total: Number of parameters of the model they were trained in, tied weights once.
        phases: Length and settings of each phase.
        versions: Versions of the libraries that wrote it.
        extra: Anything else, JSON values only.
    """

    base_model: str | None = None
    base_revision: str | None = None
    base_digests: dict[str, str] = field(default_factory=dict)
    tied: list[str] = field(default_factory=list)
    trained_with: list[str] = field(default_factory=list)
    task: str | None = None
    language: str | None = None
    labels: list[str] | None = None
    slots: dict[str, dict[str, Any]] = field(default_factory=dict)
    selection: str | None = None
    rounds: str | None = None
    rewinding: str | None = None
    num_params: int | None = None
    num_maskable: int | None = None
    num_total: int | None = None
    phases: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def head(self) -> Literal["language", "task"] | None:
        """Whose head the whole tensors are: a language model's or a task's; ``None``: unknown.

        Names do not tell: ModernBERT calls a part of its language model's head and of its tagger's
        ``head.dense``.
        """
        if self.task is None:
            return None
        return "language" if self.task == LANGUAGE_TASK else "task"

    def to_json(self) -> str:
        """One line of JSON, keys in the order of the fields."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Metadata":
        """Read what :meth:`to_json` wrote; unknown keys are kept under `extra`.

        Raises:
            LtsftError: If the text is no JSON object, or a field is of another type.
        """
        try:
            values = read_json(text)
        except ValueError as error:
            raise LtsftError(
                f"metadata is expected to be JSON, but got {text[:40]!r}: {error}."
            ) from error
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Any) -> "Metadata":
        """Check JSON values of strangers; unknown keys are kept under `extra`.

        Args:
            values: As :func:`~ltsft.sparse.guarded_json.read_json` returns them.

        Raises:
            LtsftError: If they are no object, or a field is of another type than documented.
        """
        if not isinstance(values, dict):
            raise LtsftError(f"metadata is expected to be a JSON object, but got {values!r:.40}.")
        known = {f.name: f.type for f in fields(cls)}
        about = {key: value for key, value in values.items() if key in known}
        more = {key: value for key, value in values.items() if key not in known}
        for name, value in about.items():
            kind = known[name]
            if not _IS[kind](value):
                raise LtsftError(
                    f"`{name}` in the metadata is expected to be {_WORDS[kind]}, but got "
                    f"{value!r:.80}."
                )
        metadata = cls(**about)
        metadata.extra = metadata.extra | more
        if not _is_composition(metadata.extra.get("composition")):
            raise LtsftError(
                "`composition` in the metadata is expected to list `parts` with a `weight` each, "
                f"but got {metadata.extra['composition']!r:.80}."
            )
        return metadata

    def combined(self, other: "Metadata") -> "Metadata":
        """What is true of the sum of two fine-tunings; fields that disagree are joined or dropped.

        Raises:
            LtsftError: If the two were trained on different base weights.
        """
        for name in self.base_digests.keys() & other.base_digests.keys():
            mine, theirs = (m.base_digests[name].rpartition(":") for m in (self, other))
            if mine != theirs and mine[0] == theirs[0]:  # what is before the colon: the algorithm
                raise LtsftError(
                    "sparse fine-tunings are expected to be added only if they have one base "
                    f"model, but `{name}` of {self.base_model} and of {other.base_model} differ."
                )

        def agreed(name: str) -> Any:
            value = getattr(self, name)
            return value if value == getattr(other, name) else None

        def joined(name: str) -> str | None:
            parts = [getattr(m, name) for m in (self, other) if getattr(m, name)]
            return "+".join(dict.fromkeys(parts)) or None

        return Metadata(
            base_model=agreed("base_model"),
            base_revision=agreed("base_revision"),
            base_digests=self.base_digests | other.base_digests,
            tied=[name for name in self.tied if name in other.tied],
            trained_with=list(dict.fromkeys(self.trained_with + other.trained_with)),
            task=joined("task"),
            language=joined("language"),
            labels=self.labels
            if other.labels is None
            else other.labels
            if self.labels is None
            else agreed("labels"),
            slots=self.slots | other.slots,
            selection=joined("selection"),
            rounds=agreed("rounds"),
            rewinding=joined("rewinding"),
            num_maskable=agreed("num_maskable"),
            num_total=agreed("num_total"),
            versions=agreed("versions") or {},
        )


def _is_line(value: Any) -> bool:
    """Whether it is a text that can be printed as a part of a line."""
    return isinstance(value, str) and printable(value) == value


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_lines(values: Any) -> bool:
    return isinstance(values, list) and all(map(_is_line, values))


def _by_name(values: Any, is_right: Callable[[Any], bool] = lambda value: True) -> bool:
    return (
        isinstance(values, dict)
        and all(map(_is_line, values))
        and all(map(is_right, values.values()))
    )


def _is_composition(value: Any) -> bool:
    """Whether `extra` says what was added up as :mod:`ltsft.sparse.composition` does."""
    if value is None:
        return True
    parts = value.get("parts", []) if isinstance(value, dict) else None
    return isinstance(parts, list) and all(
        isinstance(part, dict)
        and type(part.get("weight")) in (int, float)
        and isinstance(part.get("digest", ""), str)
        and _is_composition(part.get("composition"))
        for part in parts
    )


_IS: dict[Any, Callable[[Any], bool]] = {
    str | None: lambda value: value is None or _is_line(value),
    int | None: lambda value: value is None or _is_count(value),
    list[str]: _are_lines,
    list[str] | None: lambda value: value is None or _are_lines(value),
    dict[str, str]: lambda value: _by_name(value, _is_line),
    dict[str, dict[str, Any]]: lambda value: _by_name(value, _by_name),
    dict[str, Any]: _by_name,
}
"""Type of a field -> whether a JSON value is of it."""

_WORDS: dict[Any, str] = {
    str | None: "a line of text or null",
    int | None: "a whole number from 0 on, or null",
    list[str]: "a list of lines of text",
    list[str] | None: "a list of lines of text, or null",
    dict[str, str]: "an object of lines of text",
    dict[str, dict[str, Any]]: "an object of objects",
    dict[str, Any]: "an object",
}
"""What it is called."""
