"""Positions and differences in fewer bytes, without loss.

Positions are close together: the gap from one to the next mostly fits a byte. Differences have few
exponents, and few of their last bits are in use, as both ends of them are numbers of one size: the
first bytes of all of them next to each other, then the second ones and so on, have patterns that a
compressor finds.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
import zstandard
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.delta import SparseDelta
from ltsft.sparse.same import raw

_FULL = 255  # a gap byte that says: and further
_LEVEL = 1  # higher ones take longer and save nothing

_MAX_RATIO = 64
_MIN_BYTES = 1 << 14
"""What packed entries may take unpacked: so many bytes for each of theirs, and so many at least.
Those that training leaves take three, or ten if no difference but 0 is among them."""

_MIN_STEPS = 1 << 26
_PIECE_BYTES = 1 << 17
"""Steps may be more, as they are read a piece at a time: a tensor of 16 billion entries with few of
them selected has so many."""


def pack(delta: SparseDelta) -> tuple[Tensor, Tensor] | None:
    """Compress positions and values, [K] -> uint8 each; see :func:`unpack`.

    Returns:
        ``None`` if they took so few bytes that a reader would have to fear for its memory: entries
        that are all alike, which training leaves nowhere.
    """
    packed = pack_positions(delta.indices), pack_values(delta.values)
    size = len(delta) * _bytes_per_entry(delta.values.dtype)
    num_steps = len(delta) + (int(delta.indices[-1]) // _FULL if len(delta) else 0)
    is_plain = size > _most_bytes(*packed) or num_steps > _most_steps(packed[0])
    return None if is_plain else packed


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
    return _compress(raw(values.cpu()).view(-1, values.itemsize).t().contiguous())


def unpack(
    shape: tuple[int, ...], num_params: int, positions: Tensor, values: Tensor, dtype: torch.dtype
) -> SparseDelta:
    """Read what :func:`pack` made, in memory that is bounded by its size.

    Args:
        shape: Of the whole tensor.
        num_params: K, the number of entries.
        positions: Packed, uint8.
        values: Packed, uint8.
        dtype: Of the values.

    Raises:
        LtsftError: If they are something else, or more than packed numbers can be.
    """
    taken, most = num_params * _bytes_per_entry(dtype), _most_bytes(positions, values)
    if taken > most:
        raise LtsftError(
            f"packed entries of {len(positions) + len(values):,} bytes are expected to take at "
            f"most {most:,} unpacked, but would take {taken:,}; save them without `packed`."
        )
    places = _read_positions(positions, num_params, prod(shape))
    planes = _decompress(values, num_params * dtype.itemsize)
    numbers = torch.empty(num_params, dtype=dtype)
    of_number = numbers.view(torch.uint8).view(-1, dtype.itemsize)
    for place, plane in enumerate(planes.view(dtype.itemsize, -1)):
        of_number[:, place] = plane
    return SparseDelta(shape, places, numbers)


def _read_positions(packed: Tensor, number: int, size: int) -> Tensor:
    """Add up the steps, a piece at a time: there may be far more of them than positions."""
    places = np.empty(number, dtype=np.int32 if size < 2**31 else np.int64)
    at = done = 0
    most = min(number + size // _FULL, _most_steps(packed))
    for steps in _pieces(packed, most, _PIECE_BYTES):
        reached = steps.cumsum(dtype=np.int64) + at
        at = int(reached[-1])
        ends = reached[steps != _FULL]
        if at >= size or done + len(ends) > number:
            raise LtsftError(
                f"packed positions are expected to be {number:,} within the {size:,} entries of a "
                f"tensor, but are {done + len(ends):,} up to {at:,}, or more."
            )
        places[done : done + len(ends)] = ends
        done += len(ends)
    if done != number:
        raise LtsftError(f"packed positions are expected to be {number:,}, but are {done:,}.")
    return torch.from_numpy(places)


def _compress(content: Tensor) -> Tensor:
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(content.numpy().data)
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8)


def _decompress(packed: Tensor, length: int) -> Tensor:
    """Uint8, [length]."""
    pieces = list(_pieces(packed, length, length))
    plain = pieces[0] if pieces else np.empty(0, dtype=np.uint8)
    if len(plain) != length:
        raise LtsftError(
            f"packed values are expected to be {length:,} bytes, but are {len(plain):,}."
        )
    return torch.from_numpy(plain)


def _pieces(packed: Tensor, most: int, piece_bytes: int) -> Iterator[np.ndarray]:
    """What is compressed, `most` bytes of it, a piece at a time, uint8."""
    try:
        content = packed.numpy().data
        length = zstandard.frame_content_size(content)
        if not 0 <= length <= most:
            raise LtsftError(
                f"packed entries are expected to be at most {most:,} bytes, but say {length:,}."
            )
        reader = zstandard.ZstdDecompressor().stream_reader(content)
        left = length
        while left:
            piece = np.empty(min(piece_bytes, left), dtype=np.uint8)
            if reader.readinto(piece.data) != len(piece):
                raise LtsftError(
                    f"packed entries are expected to be {length:,} bytes, but are fewer."
                )
            left -= len(piece)
            yield piece
    except zstandard.ZstdError as error:
        raise LtsftError(f"packed entries are expected to be read by zstd, but: {error}.") from None


def _bytes_per_entry(dtype: torch.dtype) -> int:
    return dtype.itemsize + 4


def _most_bytes(positions: Tensor, values: Tensor) -> int:
    """That packed entries may take unpacked: zstd makes 32,768 bytes of one if they are alike."""
    return _MAX_RATIO * (len(positions) + len(values)) + _MIN_BYTES


def _most_steps(positions: Tensor) -> int:
    return _MAX_RATIO * len(positions) + _MIN_STEPS
