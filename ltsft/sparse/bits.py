"""Truth values, eight in a byte."""

import numpy as np
import torch
from torch import Tensor


def pack(flags: Tensor) -> Tensor:
    """Pack truth values, the first into the lowest bit of the first byte.

    Args:
        flags: bool, any shape; read in row-major order.

    Returns:
        uint8, [⌈number / 8⌉], on the same device; bits beyond the last are 0.

    Example:
        >>> pack(torch.tensor([True, False, False, False, True])).tolist()
        [17]
    """
    flat = flags.detach().flatten()
    if flat.device.type == "cpu":
        return torch.from_numpy(np.packbits(flat.numpy(), bitorder="little"))
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    powers = 2 ** torch.arange(8, device=flat.device)
    return (padded * powers).sum(1).to(torch.uint8)


def unpack(packed: Tensor, number: int) -> Tensor:
    """The inverse of :func:`pack`: bool, [number], on the same device.

    Example:
        >>> unpack(torch.tensor([17], dtype=torch.uint8), 5).tolist()
        [True, False, False, False, True]
    """
    if packed.device.type == "cpu":
        flags = np.unpackbits(packed.numpy(), count=number, bitorder="little")
        return torch.from_numpy(flags).view(torch.bool)
    shifts = torch.arange(8, device=packed.device, dtype=torch.uint8)
    return ((packed[:, None] >> shifts) & 1).bool().flatten()[:number]


def count(packed: Tensor) -> int:
    """How many are true.

    Example:
        >>> count(torch.tensor([17, 255], dtype=torch.uint8))
        10
    """
    ones = _NUM_ONES.to(packed.device)
    return sum(int(ones[piece.int()].sum()) for piece in packed.split(_CHUNK_BYTES))


_CHUNK_BYTES = 1 << 17  # positions to look up take eight times as much
_NUM_ONES = torch.tensor([byte.bit_count() for byte in range(256)], dtype=torch.uint8)
