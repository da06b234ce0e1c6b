"""The selected entries of one parameter, as a parameter of their own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ltsft.errors import LtsftError
from ltsft.sparse.delta import position_dtype
from ltsft.sparse.shard import local, num_in_all, sharded_as


class Part:
    """A vector that an optimizer steps in place of a parameter.

    Args:
        name: The parameter's, for messages.
        parameter: The dense parameter, contiguous in memory; the model computes with it.
        indices: Flat positions of the selected entries, int32 or int64, [K].
        initial: θ⁰ at these positions, [K].

    Attributes:
        vector: The values at the positions, [K], with a gradient of that size. Where ranks share
            the parameter out, so they do with it; `indices` and `initial` are of this rank's rows.
    """

    def __init__(
        self, name: str, parameter: nn.Parameter, indices: Tensor, initial: Tensor
    ) -> None:
        self.name = name
        self.parameter = parameter
        self.indices = indices.to(position_dtype(parameter.numel()))
        self.initial = initial
        self._length = num_in_all(parameter, len(indices))
        self.vector = nn.Parameter(self.of(parameter.detach()))
        self._version = self._now()
        self._before: Tensor | None = None  # the values before a step, if others wrote
        self._is_spent = False  # the gradient was stepped by
        self.take()

    def of(self, value: Any) -> Any:
        """The selected entries of a tensor of the parameter's shape; anything else as it is."""
        is_of_it = isinstance(value, Tensor) and value.shape == self.parameter.shape
        if not is_of_it:
            return value
        entries = local(value).reshape(-1).index_select(0, self.indices)
        return sharded_as(self.parameter, entries, self._length)

    def take_at_once(self) -> RemovableHandle:
        """Take each gradient as soon as a backward pass has made it."""
        return self.parameter.register_post_accumulate_grad_hook(lambda _: self.take())

    @torch.no_grad()
    def take(self) -> None:
        """Add the selected entries of the parameter's gradient to the vector's; let it go."""
        gradient, self.parameter.grad = self.parameter.grad, None
        if gradient is not None:
            self.add(self.of(gradient))

    @torch.no_grad()
    def add(self, gradient: Tensor) -> None:
        """Add to the vector's gradient.

        Args:
            gradient: At the positions, [K].
        """
        if not self.vector.requires_grad:  # another optimizer's turn
            return
        if self.vector.grad is None or self._is_spent:
            # A module's own `zero_grad` does not reach the vector.
            self.vector.grad = gradient
        else:
            self.vector.grad += gradient
        self._is_spent = False

    @torch.no_grad()
    def notice(self) -> None:
        """Remember the values before a step, if the parameter was written to by others since.

        A language's fine-tuning is in place at times, and is off again once the step is taken.
        """
        is_untouched = self._now() == self._version
        self._before = None if is_untouched else self.vector.clone()

    @torch.no_grad()
    def write(self) -> None:
        """Write the values into the parameter, after a step.

        Raises:
            LtsftError: If others changed them since the last time, which would be lost; or if there
                is a gradient that was not stepped by.
        """
        if self.parameter.grad is not None:
            raise LtsftError(
                f"the gradient of `{self.name}` is expected to be taken before a step, but is "
                "there still; call `mask_gradients()` after each backward pass that averages over "
                "ranks, or set `sparse.hold: Masked`."
            )
        now = local(self.parameter).view(-1)
        before = None if self._before is None else local(self._before)
        if before is not None and not torch.equal(before, now.index_select(0, self.indices)):
            raise LtsftError(
                f"the selected entries of `{self.name}` are expected to be changed by optimizers "
                "alone, but were changed between two steps; set `sparse.hold: Masked`, which reads "
                "the whole parameter at each step."
            )
        now.index_copy_(0, self.indices.long(), local(self.vector))
        self._version = self._now()
        self._is_spent = True

    def _now(self) -> tuple[int, int]:
        """Another one after each write, be it to all ranks' rows or to this one's."""
        return self.parameter._version, local(self.parameter)._version
