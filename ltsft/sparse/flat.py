"""Entries of a tensor by their flat row-major positions, however it lies in memory."""

import torch
from torch import Tensor


def take(tensor: Tensor, positions: Tensor, out: Tensor | None = None) -> Tensor:
    """Read some entries.

    Args:
        tensor: Of any shape.
        positions: Flat ones, [K], on the tensor's device.
        out: Where to; made if there is none, [K].

    Example:
        >>> take(torch.arange(6).view(3, 2).t(), torch.tensor([1, 3])).tolist()
        [2, 1]
    """
    tensor = tensor.detach()
    if tensor.is_contiguous():
        return torch.index_select(tensor.view(-1), 0, positions, out=out)
    values = tensor[torch.unravel_index(positions.long(), tensor.shape)]
    return values if out is None else out.copy_(values)


def write(tensor: Tensor, positions: Tensor, values: Tensor) -> None:
    """Write some entries, in place.

    Args:
        tensor: Of any shape.
        positions: Flat ones, each once, [K], on the tensor's device.
        values: Of the tensor's type and on its device, [K].
    """
    tensor = tensor.detach()
    if tensor.is_contiguous():
        tensor.view(-1).index_copy_(0, positions.long(), values)
    else:
        tensor[torch.unravel_index(positions.long(), tensor.shape)] = values
