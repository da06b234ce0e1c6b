"""A place for an adapter in an encoder, and its size."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ltsft.errors import LtsftError
from ltsft.modules.adapters.bottleneck import Activation

SlotName = Literal["language", "task"]
Stacking = Literal["code", "paper"]


_MAX_SIZE, _MAX_LAYERS = 1 << 24, 10_000
"""What no encoder reaches, so that a description makes no list that fills the memory."""


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
            >>> task = AdapterSlot(768, 12, layers=list(range(11)), width=768, activation="relu")
            >>> task.num_params()
            12993024
        """
        h, m, q = self.hidden_size, self.width, self.invertible_width
        in_layers = len(self.layers) * (2 * h * m + m + h)
        return in_layers + (0 if q is None else 2 * h * q + 2 * q + h)

    def nominal_num_params(self) -> int:
        """K of the sparse fine-tuning beside it: L · 2hm, with invertible adapter + h².

        Ansell et al. (2022), §4.3: 12 · 2 · 768² / r; 7,667,712 for a language at r = 2. Here r is
        the adapter's own reduction factor h / m. That is the one it was asked for only where m =
        h / r is a whole number; otherwise m was rounded down (to 1 at the least), and a
        `Budget` of the r asked for has another K. From :meth:`num_params` it differs in what
        :meth:`explain` says.

        Example:
            >>> slot = AdapterSlot(768, 12, list(range(11)), width=153, activation="relu")  # r = 5
            >>> slot.nominal_num_params(), 12 * 2 * 768**2 / 5, 12 * 2 * 768**2 / (768 / 153)
            (2820096, 2831155.2, 2820096.0)
        """
        h, m = self.hidden_size, self.width
        return self.num_layers * 2 * h * m + (0 if self.invertible_width is None else h * h)

    def explain(self) -> str:
        """Both numbers and why they differ.

        Example:
            >>> slot = AdapterSlot(768, 12, list(range(11)), 384, "relu", invertible_width=192)
            >>> slot.explain()
            '6,796,800 parameters in 11 of 12 layers and the invertible adapter; the nominal K is \
7,667,712, which counts 12 layers without biases, and h² for the invertible adapter, twice what \
its matrices have; it is that of reduction factor 2 = 768 / 384'
        """
        what = f"{len(self.layers)} of {self.num_layers} layers"
        counted = f"{self.num_layers} layers without biases"
        if self.invertible_width is not None:
            what += " and the invertible adapter"
            counted += ", and h² for the invertible adapter, twice what its matrices have"
        return (
            f"{self.num_params():,} parameters in {what}; the nominal K is "
            f"{self.nominal_num_params():,}, which counts {counted}; it is that of reduction "
            f"factor {self.hidden_size / self.width:.6g} = {self.hidden_size} / {self.width}"
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
        slot = None
        try:
            over = values.get("over")
            slot = cls(**{**values, "over": None if over is None else cls.from_json(over)})
        except (AttributeError, TypeError):
            pass  # said below
        if slot is None or not slot._is_possible():
            raise LtsftError(
                f"the description of an adapter slot is expected, but got {values!r:.80}."
            )
        return slot

    def _is_possible(self) -> bool:
        """Whether sizes are sizes, and layers those of an encoder."""
        sizes = [self.hidden_size, self.num_layers, self.width]
        sizes += [] if self.invertible_width is None else [self.invertible_width]
        return (
            all(type(size) is int and 0 < size <= _MAX_SIZE for size in sizes)
            and isinstance(self.layers, list)
            and self.num_layers <= _MAX_LAYERS
            and all(type(n) is int and 0 <= n < self.num_layers for n in self.layers)
        )
