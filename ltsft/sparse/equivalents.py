"""One number of entries, said as a density and as an adapter's reduction factor."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class EncoderSize:
    """What the size of an adapter depends on.

    Args:
        num_layers: Number of layers.
        hidden_size: h, the width of the hidden states.
    """

    num_layers: int
    hidden_size: int

    @classmethod
    def of(cls, module: "nn.Module") -> Self | None:
        """Read ``config.num_hidden_layers`` and ``config.hidden_size`` of the first that has both.

        Returns:
            ``None`` if neither `module` nor a sub-module has them.
        """
        for child in module.modules():
            config = getattr(child, "config", None)
            num_layers = getattr(config, "num_hidden_layers", None)
            hidden_size = getattr(config, "hidden_size", None)
            if num_layers and hidden_size:
                return cls(num_layers, hidden_size)
        return None

    @classmethod
    def read_off(cls, names: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> Self | None:
        """Guess it from the parameters of an encoder, where there is no model to ask.

        Layers are counted by the number after ``layer`` or ``layers``. The hidden size is the most
        frequent last dimension in them: most matrices read the hidden states.

        Args:
            names: Names of all parameters that are known.
            shapes: Shapes of some of them, by name.

        Returns:
            ``None`` if no parameter of a numbered layer has a known shape.

        Example:
            >>> EncoderSize.read_off([], {"layer.0.up": (12, 3), "layer.1.query": (3, 3)})
            EncoderSize(num_layers=2, hidden_size=3)
        """
        numbers = {n: int(m[1]) for n in (*names, *shapes) if (m := _NUMBERED.search(n))}
        widths = Counter(shape[-1] for name, shape in shapes.items() if name in numbers and shape)
        return cls(max(numbers.values()) + 1, widths.most_common(1)[0][0]) if widths else None

    @property
    def num_adapter_params(self) -> int:
        """Weights of bottleneck adapters as wide as the hidden states: layers · 2 · h²."""
        return self.num_layers * 2 * self.hidden_size**2

    @property
    def num_invertible_params(self) -> int:
        """Nominal size of MAD-X's invertible adapter as the paper counts it: h²."""
        return self.hidden_size**2


_NUMBERED = re.compile(r"(?:^|\.)layers?\.([0-9]{1,6})\.")


@dataclass(frozen=True)
class Equivalents:
    """K, and what says the same of one model.

    Args:
        num_params: K.
        num_maskable: Number of maskable entries, if known.
        num_total: Number of all parameters of the model, if known.
        size: Size of the encoder, if known.

    Example:
        >>> base = EncoderSize(num_layers=12, hidden_size=768)
        >>> Equivalents(7_667_712, size=base).reduction_factor_invertible  # Ansell et al. (2022)
        2.0
    """

    num_params: int
    num_maskable: int | None = None
    num_total: int | None = None
    size: EncoderSize | None = None

    @property
    def density(self) -> float | None:
        """Share of the maskable entries."""
        return self.num_params / self.num_maskable if self.num_maskable else None

    @property
    def density_of_model(self) -> float | None:
        """Share of all parameters of the model."""
        return self.num_params / self.num_total if self.num_total else None

    @property
    def reduction_factor(self) -> float | None:
        """The r of adapters with as many weights: K = layers · 2 · h² / r."""
        if self.size is None or not self.num_params:
            return None
        return self.size.num_adapter_params / self.num_params

    @property
    def reduction_factor_invertible(self) -> float | None:
        """The r beside an invertible adapter: K = layers · 2 · h² / r + h²; needs K > h²."""
        if self.size is None or self.num_params <= self.size.num_invertible_params:
            return None
        return self.size.num_adapter_params / (self.num_params - self.size.num_invertible_params)
