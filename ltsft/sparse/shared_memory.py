"""Tensors that lie in the same memory."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor


def sharing(tensors: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Names of two tensors that have an entry in common, if there are two.

    Args:
        tensors: Not overlapping in themselves, by name.

    Example:
        >>> weight = torch.zeros(4, 6)
        >>> sharing({"left": weight[:, :3], "right": weight[:, 3:]})
        >>> sharing({"all": weight.t(), "right": weight[:, 3:]})
        ('all', 'right')
    """
    by_storage: dict[int, list[tuple[range, str]]] = defaultdict(list)
    for name, tensor in tensors.items():
        if tensor.numel() and (address := tensor.untyped_storage().data_ptr()):
            by_storage[address].append((_bytes(tensor), name))
    for places in by_storage.values():
        before: list[tuple[range, str]] = []  # what reaches beyond the next one's first byte
        for place, name in sorted(places, key=lambda each: each[0].start):
            before = [each for each in before if each[0].stop > place.start]
            for _, other in before:
                if _overlap(tensors[other], tensors[name]):
                    return other, name
            before.append((place, name))
    return None


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether several entries are one number in memory, as after ``expand``."""
    return any(n > 1 and not s for n, s in zip(tensor.shape, tensor.stride(), strict=True))


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two whose ranges meet, as of columns side by side, have an entry in common."""
    if one.dtype != other.dtype:
        return True
    begin = min(one.storage_offset(), other.storage_offset())
    end = max(_bytes(one).stop, _bytes(other).stop) // one.itemsize
    taken = torch.zeros(end - begin, dtype=torch.bool)
    for tensor in (one, other):
        place = taken.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset() - begin)
        if place.any():
            return True
        place.fill_(True)
    return False


def _bytes(tensor: Tensor) -> range:
    """From the first to the last that is its own, counted in its storage."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((length - 1) * stride for length, stride in steps)
    start = tensor.storage_offset() * tensor.itemsize
    return range(start, start + (last + 1) * tensor.itemsize)
