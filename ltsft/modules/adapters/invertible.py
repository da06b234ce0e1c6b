"""The invertible adapter at the embeddings of a language."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ltsft.modules.adapters.bottleneck import Activation, Bottleneck


class InvertibleAdapter(nn.Module):
    """A coupling block: adapts embeddings to a language, and can be undone at the output.

    NICE (Dinh et al., 2015) as in MAD-X (Pfeiffer et al., 2020). An embedding is halved,
    e = (e₁, e₂), and each half is shifted by a function of the other:

    * forward: y₁ = e₁ + F(e₂), y₂ = e₂ + G(y₁);
    * inverse: e₂ = y₂ - G(y₁), e₁ = y₁ - F(e₂), equal to the input up to rounding.

    A new one is zero in every tensor, hence exactly the identity in both directions. It computes in
    the type of its weights, float32 also under autocast: bfloat16 would lose more in two roundings
    than the adapter adds.

    Args:
        hidden_size: h, the size of an embedding; an odd one has the shorter half first.
        width: Inner size of F and G; MAD-X has :meth:`default_width`.
        activation: Non-linearity of F and G.
    """

    def __init__(self, hidden_size: int, width: int, activation: Activation = "relu") -> None:
        super().__init__()
        first = hidden_size // 2
        second = hidden_size - first
        self._halves = (first, second)
        self.f = Bottleneck(second, width, first, activation)
        self.g = Bottleneck(first, width, second, activation)

    @staticmethod
    def default_width(hidden_size: int) -> int:
        """A reduction by 2 of the *half* that F and G read, so h/4."""
        return max(1, hidden_size // 2 // 2)

    def reset_parameters(self) -> None:
        """Draw weights as :meth:`Bottleneck.reset_parameters` does."""
        self.f.reset_parameters()
        self.g.reset_parameters()

    def forward(self, embeddings: Tensor) -> Tensor:
        """Adapt embeddings.

        Args:
            embeddings: e, [..., h].

        Returns:
            y, [..., h].
        """

        def shift(e1: Tensor, e2: Tensor) -> tuple[Tensor, Tensor]:
            y1 = e1 + self.f(e2)
            return y1, e2 + self.g(y1)

        return self._halved(embeddings, shift)

    def inverse(self, adapted: Tensor) -> Tensor:
        """Undo :meth:`forward`.

        Args:
            adapted: y, [..., h].

        Returns:
            e, [..., h].
        """

        def shift(y1: Tensor, y2: Tensor) -> tuple[Tensor, Tensor]:
            e2 = y2 - self.g(y1)
            return y1 - self.f(e2), e2

        return self._halved(adapted, shift)

    def _halved(
        self, hidden: Tensor, shift: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            halves = hidden.to(self.f.up.weight.dtype).split(self._halves, dim=-1)
            return torch.cat(shift(*halves), dim=-1).to(hidden.dtype)

    # Methods, not closures, so that a deep copy of a model calls its own copy of the adapter.

    def adapt_output(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Forward hook of the embeddings: what leaves them is adapted."""
        return self(output)

    def restore_input(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Forward pre-hook of the output embeddings: what reaches them is restored."""
        return (self.inverse(args[0]), *args[1:])
