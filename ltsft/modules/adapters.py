"""What adapters a model has: the options, and the slots that follow for one encoder."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ltsft.errors import LtsftError
from ltsft.modules.bottleneck import Activation, check_activation
from ltsft.modules.invertible import InvertibleAdapter

SlotName = Literal["language", "task"]
Stacking = Literal["code", "paper"]


@dataclass(frozen=True)
class AdapterSlot:
    """A place for one adapter in an encoder: what must agree for an adapter to fit in.

    Args:
        hidden_size: h of the encoder.
        num_layers: L, layers of the encoder.
        layers: Numbers, from 0, of the layers that hold an adapter.
        width: m, the inner size of each adapter.
        activation: Non-linearity of the adapters.
        invertible_width: Inner size of the invertible adapter's halves; ``None`` for a slot without
            an invertible adapter.
        invertible_activation: Non-linearity of the invertible adapter, if there is one.
        stacking: How a task's adapter is put on a language's; ``None`` in the language slot, whose
            adapter is the first in either form.
        over: The language slot under a task's; ``None`` if there is none.
    """

    hidden_size: int
    num_layers: int
    layers: list[int]
    width: int
    activation: Activation
    invertible_width: int | None = None
    invertible_activation: Activation | None = None
    stacking: Stacking | None = None
    over: "AdapterSlot | None" = None

    def num_params(self) -> int:
        """Number of parameters: layers · (2hm + m + h), with invertible adapter + 2hq + 2q + h.

        Example:
            >>> mad_x_2 = Adapters().slots(hidden_size=768, num_layers=12)
            >>> {name: slot.num_params() for name, slot in mad_x_2.items()}
            {'language': 6796800, 'task': 819984}
        """
        h, m, q = self.hidden_size, self.width, self.invertible_width
        in_layers = len(self.layers) * (2 * h * m + m + h)
        return in_layers + (0 if q is None else 2 * h * q + 2 * q + h)

    def nominal_num_params(self) -> int:
        """K of the sparse fine-tuning that stands beside it: L · 2hm, with invertible adapter + h².

        Ansell et al. (2022), §4.3: 12 · 2 · 768² / r; 7,667,712 for a language at r = 2. It differs
        from :meth:`num_params` in what :meth:`explain` says.
        """
        h, m = self.hidden_size, self.width
        return self.num_layers * 2 * h * m + (0 if self.invertible_width is None else h * h)

    def explain(self) -> str:
        """Both numbers and why they differ.

        Example:
            >>> Adapters().slots(768, 12)["language"].explain()
            '6,796,800 parameters in 11 of 12 layers and the invertible adapter; the nominal K is \
7,667,712, which counts 12 layers without biases, and h² for the invertible adapter, twice what \
its matrices have'
        """
        what = f"{len(self.layers)} of {self.num_layers} layers"
        counted = f"{self.num_layers} layers without biases"
        if self.invertible_width is not None:
            what += " and the invertible adapter"
            counted += ", and h² for the invertible adapter, twice what its matrices have"
        return (
            f"{self.num_params():,} parameters in {what}; the nominal K is "
            f"{self.nominal_num_params():,}, which counts {counted}"
        )

    def to_json(self) -> dict[str, Any]:
        """Primitives, for the metadata of an adapter."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> "AdapterSlot":
        """Read what :meth:`to_json` gave.

        Raises:
            LtsftError: If it is something else.
        """
        try:
            over = values.get("over")
            slot = cls(**{**values, "over": None if over is None else cls.from_json(over)})
            slot.explain()  # numbers where numbers belong, or a TypeError
            return slot
        except (AttributeError, TypeError) as error:
            raise LtsftError(
                f"the description of an adapter slot is expected, but got {values!r:.80}."
            ) from error


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
            in training as well.
        stacking: How the task's adapter is put on the language's output a₁ = A(LN(u + x)) + u.
            ``code``: as the `adapters` library has always done it, a₂ = A(LN(a₁ + x)) + a₁.
            ``paper``: as MAD-X is described, a₂ = A(a₁) + u.
        activation: Non-linearity of all adapters but the invertible one: ``relu``, ``gelu`` (exact)
            or ``gelu_new`` (its tanh approximation).
        invertible_activation: Non-linearity of the invertible adapter.

    Raises:
        LtsftError: If a value is out of range.
    """

    language_reduction_factor: float | None = 2
    task_reduction_factor: float | None = 16
    invertible: bool = True
    leave_out: list[int] = field(default_factory=lambda: [-1])
    stacking: Stacking = "code"
    activation: Activation = "relu"
    invertible_activation: Activation = "relu"

    def __post_init__(self) -> None:
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
        if self.stacking == "paper" and self.language_reduction_factor is None:
            raise LtsftError(
                "`adapters.language_reduction_factor` is expected to be a number where `stacking` "
                "is `paper`, whose task adapter reads the language slot's output, but got None; "
                "use `code`."
            )

    def slots(
        self, hidden_size: int, num_layers: int, trained: SlotName = "task"
    ) -> dict[SlotName, AdapterSlot]:
        """The slots of an encoder, in stacking order, up to the one that is trained.

        A language is trained without a slot for a task above it: in the paper's form one that is
        empty would cut the language's adapters off.

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
        for number in self.leave_out:
            if not -num_layers <= number < num_layers:
                raise LtsftError(
                    f"`adapters.leave_out` is expected to hold layers from {-num_layers} to "
                    f"{num_layers - 1} of this encoder, but got {number}."
                )
        left_out = {number % num_layers for number in self.leave_out}
        if len(left_out) == num_layers:
            raise LtsftError(
                f"`adapters.leave_out` is expected to leave a layer with adapters, but names all "
                f"{num_layers} of this encoder."
            )
        return [number for number in range(num_layers) if number not in left_out]


def _width(hidden_size: int, reduction_factor: float | None) -> int:
    assert reduction_factor is not None
    return max(1, int(hidden_size // reduction_factor))
