"""Tensors as bytes, and whether two hold the same, also where numbers are no numbers."""

import torch
from torch import Tensor


def raw(tensor: Tensor) -> Tensor:
    """The bytes of a tensor in row-major order, uint8, [numel · itemsize].

    Example:
        >>> raw(torch.tensor(1.0)).tolist(), len(raw(torch.zeros(1).expand(1, 0)))
        ([0, 0, 128, 63], 0)
    """
    flat = tensor.detach().contiguous()
    # Torch takes one number, or none, to be contiguous whatever its strides; not so as bytes.
    return flat.as_strided((flat.numel(),), (1,)).view(torch.uint8)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether type, shape and every bit agree; a NaN is then equal to itself.

    Example:
        >>> same_bits(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
        True
        >>> same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
        False
    """
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(raw(one), raw(other))


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether every number is the same or neither is one, whatever bits a NaN or a zero has.

    Sums and conversions leave those bits open.
    """
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
