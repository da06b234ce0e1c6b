"""Positions and differences in fewer bytes, without loss.

Positions are close together: the gap from one to the next mostly fits a byte. Differences have few
exponents, and few of their last bits are in use, as both ends of them are numbers of one size: the
first bytes of all of them next to each other, then the second ones and so on, have patterns that a
compressor finds.
"""

import torch
import zstandard
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.delta import SparseDelta, position_dtype

_FULL = 255  # a gap byte that says: and further
_LEVEL = 1  # higher ones take longer and save nothing


def pack_positions(indices: Tensor) -> Tensor:
    """Compress positions, [K] -> uint8.

    Each is told by its distance from the one before, the first by that from 0, as bytes that add
    up: any number of 255, and a smaller one.
    """
    gaps = torch.diff(indices.cpu(), prepend=indices.new_zeros(1, device="cpu"))
    ends = (gaps // _FULL + 1).cumsum(0)
    length = int(ends[-1]) if len(ends) else 0
    steps = torch.full((length,), _FULL, dtype=torch.uint8)
    steps[ends - 1] = (gaps % _FULL).to(torch.uint8)
    return _compress(steps)


def pack_values(values: Tensor) -> Tensor:
    """Compress numbers, [K] -> uint8: their first bytes, then their second ones and so on."""
    numbers = values.cpu().contiguous()
    return _compress(numbers.view(torch.uint8).view(-1, numbers.element_size()).t().contiguous())


def unpack(
    shape: tuple[int, ...], positions: Tensor, values: Tensor, dtype: torch.dtype
) -> SparseDelta:
    """Read what :func:`pack_positions` and :func:`pack_values` made.

    Args:
        shape: Of the whole tensor.
        positions: Packed, uint8.
        values: Packed, uint8.
        dtype: Of the values.

    Raises:
        LtsftError: If they are something else, or too many for the shape.
    """
    size = torch.Size(shape).numel()
    steps = _decompress(positions, size + size // _FULL)
    places = steps.cumsum(0, dtype=position_dtype(size))
    # NumPy is three times as fast here.
    places = torch.from_numpy(places.numpy()[steps.numpy() != _FULL])
    planes = _decompress(values, len(places) * dtype.itemsize)
    if len(planes) != len(places) * dtype.itemsize:
        raise LtsftError(
            f"packed values are expected to be {len(places):,} of {dtype}, but are {len(planes):,} "
            "bytes."
        )
    numbers = torch.empty(len(places), dtype=dtype)
    of_number = numbers.view(torch.uint8).view(-1, dtype.itemsize)
    for place, plane in enumerate(planes.view(dtype.itemsize, -1)):
        of_number[:, place] = plane
    return SparseDelta(shape, places, numbers)


def _compress(content: Tensor) -> Tensor:
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(content.numpy().data)
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8)


def _decompress(packed: Tensor, most: int) -> Tensor:
    """Uint8; `most` bytes of it, so that a small file takes no large memory."""
    try:
        content = packed.numpy().data
        length = zstandard.frame_content_size(content)
        if not 0 <= length <= most:
            raise LtsftError(
                f"packed entries are expected to be at most {most:,} bytes, but say {length:,}."
            )
        plain = torch.empty(length, dtype=torch.uint8)
        read = zstandard.ZstdDecompressor().stream_reader(content).readinto(plain.numpy().data)
    except zstandard.ZstdError as error:
        raise LtsftError(f"packed entries are expected to be read by zstd, but: {error}.") from None
    if read != length:
        raise LtsftError(f"packed entries are expected to be {length:,} bytes, but are {read:,}.")
    return plain
