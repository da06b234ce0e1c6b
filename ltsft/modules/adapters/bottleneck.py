"""The small network that adapters are made of."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltsft.errors import LtsftError

Activation = Literal["relu", "gelu", "gelu_new"]
"""``gelu`` is the exact one, ``gelu_new`` its tanh approximation, as transformers names them."""

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
}


class Bottleneck(nn.Module):
    """A(z) = U·f(D·z + d) + e: down to a few dimensions, a non-linearity, and up again.

    A new one is zero in every tensor, hence gives exactly 0 for every input.

    Args:
        in_features: Size of z.
        width: Rows of D, columns of U.
        out_features: Size of A(z).
        activation: f.
    """

    def __init__(
        self, in_features: int, width: int, out_features: int, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        check_activation("activation", activation)
        self.down = nn.Linear(in_features, width)
        self.up = nn.Linear(width, out_features)
        self._function = _FUNCTIONS[activation]
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def reset_parameters(self) -> None:
        """Draw weights from N(0, 0.02²), both of D and U; biases become 0.

        The start of training. Such an adapter is near, not equal to, the zero function: with U = 0
        as well as D = 0 neither would ever get a gradient.
        """
        for layer in (self.down, self.up):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def is_filled(self) -> Tensor:
        """Whether anything was put in: a new one, and one whose filling was reverted, is all zero.

        Told by the tensors, and so by nothing that applying, reverting, loading a state, copying or
        another process could leave behind. What training or a file puts in has entries other than
        0; D counts as well as U, so that an adapter that starts at U = 0 can learn.

        Returns:
            A boolean, [], on the parameters' device.
        """
        return torch.stack([parameter.any() for parameter in self.parameters()]).any()

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute A(z).

        Args:
            hidden: z, [..., in_features].

        Returns:
            A(z), [..., out_features].
        """
        return self.up(self._function(self.down(hidden)))


def check_activation(name: str, activation: str) -> None:
    """Refuse an unknown non-linearity.

    Raises:
        LtsftError: If `activation` is none of :data:`Activation`.
    """
    if activation not in get_args(Activation):
        raise LtsftError(
            f"`{name}` is expected to be one of {', '.join(get_args(Activation))}, but got "
            f"{activation!r}."
        )
