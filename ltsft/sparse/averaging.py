"""What processes that train together tell each other of their gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from ltsft.sparse.delta import position_dtype
from ltsft.sparse.holds.base import Holdable


class Averaging:
    """Averages gradients over the ranks of DDP, and may leave out what is not selected.

    In the sparse phase a step then sends a number for each selected entry and for each of whole
    parameters, in place of one for each parameter of the model. What is left out is 0 afterwards.
    Sums are those of DDP's own averaging; with more than two ranks their order may differ, as it
    depends on where in a message a number is.

    Args:
        model: The wrapper, before its first backward pass.
    """

    def __init__(self, model: DistributedDataParallel) -> None:
        self._selected: dict[Tensor, Tensor] = {}  # by parameter: positions
        model.register_comm_hook(None, self._average)

    @classmethod
    def of(cls, model: nn.Module | None) -> "Averaging | None":
        """That of a model; ``None`` if it is not under DDP, or averages in a way of its own."""
        if isinstance(model, DistributedDataParallel) and not model._comm_hooks:
            return cls(model)
        return None

    def only_selected_of(self, ticket: Holdable | None) -> None:
        """Send of maskable parameters the selected entries only, from now on.

        Args:
            ticket: Says which those are; ``None``: send everything.
        """
        self._selected = {
            parameter: indices.to(position_dtype(parameter.numel()))
            for _, parameter, indices in (ticket.selected() if ticket else ())
            if parameter.is_contiguous()
        }

    def _average(self, state: Any, bucket: dist.GradBucket) -> Future[Tensor]:
        """Begin to average a bucket of gradients, while others are still being made."""
        buffer = bucket.buffer()
        selected = [self._selected.get(parameter) for parameter in bucket.parameters()]
        if all(indices is None for indices in selected):
            return _begin(buffer).then(lambda done: done.value()[0])
        gradients = bucket.gradients()
        sent = [
            gradient.reshape(-1)
            if indices is None
            else gradient.reshape(-1).index_select(0, indices)
            for gradient, indices in zip(gradients, selected, strict=True)
        ]

        def put(done: Future[Any]) -> Tensor:
            received = done.value()[0].split([len(numbers) for numbers in sent])
            buffer.zero_()
            for gradient, indices, numbers in zip(gradients, selected, received, strict=True):
                if indices is None:
                    gradient.copy_(numbers.view_as(gradient))
                else:
                    gradient.view(-1).index_copy_(0, indices.long(), numbers)
            return buffer

        return _begin(torch.cat(sent)).then(put)


def _begin(numbers: Tensor) -> Future[Any]:
    """Begin to average over the ranks; divided first, so that sums cannot overflow."""
    work = dist.all_reduce(numbers.div_(dist.get_world_size()), async_op=True)
    return work.get_future()
