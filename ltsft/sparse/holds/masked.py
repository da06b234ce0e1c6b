"""Gradients are zeroed and θ⁰ is written back: the plain way, and what others are judged by."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from ltsft.sparse.holds.base import Hold, Holdable
from ltsft.sparse.shard import local


class Masked(Hold):
    """Zeroes the gradients of unselected entries, and writes θ⁰ back after each optimizer step.

    Holds under any optimizer, by construction. Optimizer state is as large as the model; beside it
    there are θ⁰ and one byte an entry for the mask.
    """

    def __init__(self) -> None:
        self._held: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # θ⁰, unselected
        self._handles: list[RemovableHandle] = []

    @override
    def attach(self, ticket: Holdable, optimizers: Iterable[Optimizer]) -> None:
        self.detach()
        self._held = {
            parameter: (ticket.initial[name], unselected)
            for name, parameter, unselected in ticket.unselected()
        }
        self._handles = [o.register_step_post_hook(self._restore) for o in optimizers]

    @override
    def mask_gradients(self) -> None:
        for parameter in self._held:
            self.mask_gradient(parameter)

    @override
    def mask_gradient(self, parameter: nn.Parameter) -> None:
        if parameter.grad is not None and parameter in self._held:
            # Filled, not multiplied: an infinite gradient times 0 is NaN.
            local(parameter.grad).masked_fill_(self._held[parameter][1], 0.0)

    @override
    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._held, self._handles = {}, []

    @torch.no_grad()
    def _restore(self, *_: Any) -> None:
        for parameter, (initial, unselected) in self._held.items():
            now = local(parameter).detach()
            torch.where(unselected, initial, now, out=now)
