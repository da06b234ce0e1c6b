"""What adapters a model has: the options."""

import math
from dataclasses import dataclass, field
from typing import get_args

from ltsft.errors import LtsftError
from ltsft.modules.adapters.bottleneck import Activation, check_activation
from ltsft.modules.adapters.invertible import InvertibleAdapter
from ltsft.modules.adapters.slot import AdapterSlot, SlotName, Stacking


@dataclass
class Adapters:
    """MAD-X 2.0's adapters (Pfeiffer et al., 2020, 2021): the options.

    One for the language and one for the task in each layer, after the feed-forward block, the
    task's stacked on the language's; and an invertible adapter of the language's at the embeddings.

    Args:
        language_reduction_factor: Hidden size over the width of the language's adapters. The
            default is MAD-X's. ``None``: no adapters for languages.
        task_reduction_factor: The same of the task's adapters.
        invertible: Whether a language has an invertible adapter too, of width h/4.
        leave_out: Layers without adapters, from 0; negative numbers count from the last. The
            default, the last layer, is what makes it MAD-X 2.0: both adapters are missing there,
            in training as well. ``None``, like an empty list, leaves out none.
        stacking: How the task's adapter is put on the language's output a₁ = A(LN(u + x)) + u.
            ``code``: as the `adapters` library has always done it, a₂ = A(LN(a₁ + x)) + a₁.
            ``paper``: as MAD-X is described, a₂ = A(a₁) + u. Without a language's adapter both are
            A(LN(u + x)) + u.
        activation: Non-linearity of all adapters but the invertible one: ``relu``, ``gelu`` (exact)
            or ``gelu_new`` (its tanh approximation).
        invertible_activation: Non-linearity of the invertible adapter.

    Raises:
        LtsftError: If a value is out of range.
    """

    language_reduction_factor: float | None = 2
    task_reduction_factor: float | None = 16
    invertible: bool = True
    leave_out: list[int] | None = field(default_factory=lambda: [-1])
    stacking: Stacking = "code"
    activation: Activation = "relu"
    invertible_activation: Activation = "relu"

    def __post_init__(self) -> None:
        self.leave_out = [] if self.leave_out is None else self.leave_out
        for name in ("language_reduction_factor", "task_reduction_factor"):
            factor = getattr(self, name)
            if factor is not None and not factor > 0:
                raise LtsftError(f"`adapters.{name}` is expected to be above 0, but got {factor}.")
        for name in ("activation", "invertible_activation"):
            check_activation(f"adapters.{name}", getattr(self, name))
        if self.stacking not in get_args(Stacking):
            raise LtsftError(
                f"`adapters.stacking` is expected to be one of {', '.join(get_args(Stacking))}, "
                f"but got {self.stacking!r}."
            )

    @classmethod
    def of_slot(cls, slot: AdapterSlot) -> "Adapters":
        """The options that make a slot; what it does not depend on is at its default.

        Args:
            slot: The slot, as in the metadata of what fills it.
        """
        is_task = slot.stacking is not None
        under = slot.over if is_task else slot
        factors: dict[str, float | None] = {"language_reduction_factor": None}
        if under is not None:
            factors = {"language_reduction_factor": _factor(slot.hidden_size, under.width)}
        if is_task:
            factors["task_reduction_factor"] = _factor(slot.hidden_size, slot.width)
        left_out = [number for number in range(slot.num_layers) if number not in slot.layers]
        return cls(
            **factors,
            invertible=under is None or under.invertible_width is not None,
            leave_out=[-1] if left_out == [slot.num_layers - 1] else left_out,
            stacking=slot.stacking or "code",
            activation=slot.activation,
            invertible_activation=(under and under.invertible_activation) or "relu",
        )

    def slots(
        self, hidden_size: int, num_layers: int, trained: SlotName = "task"
    ) -> dict[SlotName, AdapterSlot]:
        """The slots of an encoder, in stacking order, up to the one that is trained.

        A language is trained without a slot for a task above it, which would stay empty.

        Args:
            hidden_size: h of the encoder.
            num_layers: L, its layers.
            trained: The slot to be trained.

        Raises:
            LtsftError: If that slot is not to be, or no layer is left.
        """
        factors: dict[SlotName, float | None] = {
            "language": self.language_reduction_factor,
            "task": self.task_reduction_factor,
        }
        if factors[trained] is None:
            raise LtsftError(
                f"`adapters.{trained}_reduction_factor` is expected to be a number, because the "
                f"adapter of the {trained} is what is trained here, but got None."
            )
        layers = self._layers(num_layers)
        language = None
        if factors["language"] is not None:
            language = AdapterSlot(
                hidden_size,
                num_layers,
                layers,
                _width(hidden_size, factors["language"]),
                self.activation,
                InvertibleAdapter.default_width(hidden_size) if self.invertible else None,
                self.invertible_activation if self.invertible else None,
            )
        slots: dict[SlotName, AdapterSlot] = {} if language is None else {"language": language}
        if trained == "task":
            slots["task"] = AdapterSlot(
                hidden_size,
                num_layers,
                layers,
                _width(hidden_size, factors["task"]),
                self.activation,
                stacking=self.stacking,
                over=language,
            )
        return slots

    def _layers(self, num_layers: int) -> list[int]:
        for number in self.leave_out or []:
            if not -num_layers <= number < num_layers:
                raise LtsftError(
                    f"`adapters.leave_out` is expected to hold layers from {-num_layers} to "
                    f"{num_layers - 1} of this encoder, but got {number}."
                )
        left_out = {number % num_layers for number in self.leave_out or []}
        if len(left_out) == num_layers:
            raise LtsftError(
                f"`adapters.leave_out` is expected to leave a layer with adapters, but names all "
                f"{num_layers} of this encoder."
            )
        return [number for number in range(num_layers) if number not in left_out]


def _factor(hidden_size: int, width: int) -> float:
    """The inverse of :func:`_width`."""
    factor = hidden_size / width
    if _width(hidden_size, factor) != width:
        factor = math.nextafter(factor, 0)  # rounded up, it would give one less
    return int(factor) if factor.is_integer() else factor


def _width(hidden_size: int, reduction_factor: float | None) -> int:
    assert reduction_factor is not None
    return max(1, int(hidden_size // reduction_factor))
