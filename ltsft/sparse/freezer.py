"""Training K entries of a dense model while every other one stays bit for bit as it was."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ltsft.sparse.mask import Mask


class Freezer:
    """Holds unselected entries at their initial values.

    A zero gradient does not freeze: weight decay, momentum and old optimizer state still move an
    entry. So gradients are masked (the norm for clipping counts only what moves), *and* after each
    optimizer step the initial values are written back where the mask is False. That holds under any
    optimizer, by construction.

    Args:
        module: The module in training.
        initial: Initial values of the maskable parameters, by name, on the parameters' devices.
        mask: True where an entry may move; its names are the maskable parameters.
    """

    def __init__(self, module: nn.Module, initial: Mapping[str, Tensor], mask: Mask) -> None:
        parameters = dict(module.named_parameters())
        self._held = [
            (name, parameters[name], initial[name], ~mask[name].to(parameters[name].device))
            for name in mask
        ]

    def mask_gradients(self) -> None:
        """Zero the gradients of unselected entries (μ ⊙ ∇L of Ansell et al., 2022, §3.1)."""
        for _, parameter, _, unselected in self._held:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(unselected, 0.0)

    @torch.no_grad()
    def restore(self) -> None:
        """Write the initial values back into all unselected entries."""
        for _, parameter, initial, unselected in self._held:
            torch.where(unselected, initial, parameter, out=parameter.data)

    def hold(self, optimizer: Optimizer) -> RemovableHandle:
        """Restore after every step of `optimizer`; returns the handle that ends it."""

        def restore(*_: Any) -> None:
            self.restore()

        return optimizer.register_step_post_hook(restore)

    def moved(self) -> list[str]:
        """Names of tensors in which an unselected entry differs from its initial value."""
        return [
            name
            for name, parameter, initial, unselected in self._held
            if not torch.equal(parameter.detach()[unselected], initial[unselected])
        ]
