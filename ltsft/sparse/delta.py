"""The selected entries of one tensor, and the parts that a fine-tuning is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.same import same_bits


@dataclass(frozen=True, eq=False)
class SparseDelta:
    """The selected entries of one tensor and their differences from the start.

    Args:
        shape: Shape of the whole tensor.
        indices: Flat row-major positions, strictly increasing, [K]. Of whatever integers they are
            given, they are kept as int32, or int64 from 2³¹ entries of the tensor on.
        values: Differences, floating point, [K]; a selected entry may well have difference 0.

    Raises:
        LtsftError: If positions and values do not fit each other or the shape.
    """

    shape: tuple[int, ...]
    indices: Tensor
    values: Tensor

    def __post_init__(self) -> None:
        indices, values = self.indices, self.values
        size = prod(self.shape)  # torch's own product wraps around
        if any(length < 0 for length in self.shape):
            raise LtsftError(f"`shape` is expected to be one, but got {tuple(self.shape)}.")
        if indices.dtype not in (torch.int32, torch.int64) or indices.dim() != 1:
            raise LtsftError(
                "`indices` is expected to be a vector of int32 or int64, but got "
                f"{indices.dtype} of shape {tuple(indices.shape)}."
            )
        if not values.is_floating_point() or values.shape != indices.shape:
            raise LtsftError(
                f"`values` is expected to hold {len(indices):,} floating-point numbers, but got "
                f"{values.dtype} of shape {tuple(values.shape)}."
            )
        if len(indices):
            if not bool((indices[1:] > indices[:-1]).all()):
                raise LtsftError("`indices` is expected to be strictly increasing, but is not.")
            first, last = int(indices[0]), int(indices[-1])
            if first < 0 or last >= size:
                raise LtsftError(
                    f"`indices` is expected to lie within the {size:,} entries of a tensor of "
                    f"shape {tuple(self.shape)}, but got {first} … {last}."
                )
            # A NaN is both the least and the greatest.
            if not all(torch.isfinite(extreme) for extreme in torch.aminmax(values)):
                raise LtsftError("`values` is expected to be finite, but got NaN or infinity.")
        object.__setattr__(self, "indices", indices.to(position_dtype(size)))

    @classmethod
    def unchecked(cls, shape: tuple[int, ...], indices: Tensor, values: Tensor) -> "SparseDelta":
        """One whose positions and values are known to fit, and need not be looked at."""
        delta = object.__new__(cls)
        indices = indices.to(position_dtype(prod(shape)))
        for name, value in (("shape", shape), ("indices", indices), ("values", values)):
            object.__setattr__(delta, name, value)
        return delta

    @cached_property
    def largest(self) -> float:
        """Size of the largest difference; 0 without entries."""
        return float(torch.stack(self.values.aminmax()).abs().max()) if len(self) else 0.0

    def __len__(self) -> int:
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SparseDelta)
            and tuple(self.shape) == tuple(other.shape)
            and torch.equal(self.indices, other.indices)
            and same_bits(self.values, other.values)
        )

    def __mul__(self, factor: float) -> "SparseDelta":
        return replace(self, values=self.values * factor)

    def __add__(self, other: "SparseDelta") -> "SparseDelta":
        if tuple(self.shape) != tuple(other.shape):
            raise LtsftError(
                "differences of one parameter are expected to have one shape, but got "
                f"{tuple(self.shape)} and {tuple(other.shape)}."
            )
        indices, position = torch.cat([self.indices, other.indices]).unique(return_inverse=True)
        dtype = torch.promote_types(self.values.dtype, other.values.dtype)
        values = torch.zeros(len(indices), dtype=dtype)
        # Each position occurs at most once in either operand, so both lines are exact and ordered.
        values[position[: len(self)]] = self.values.to(dtype)
        values[position[len(self) :]] += other.values.to(dtype)
        return SparseDelta(self.shape, indices, values)

    def dense(self) -> Tensor:
        """The difference as a tensor of the full shape."""
        flat = torch.zeros(torch.Size(self.shape).numel(), dtype=self.values.dtype)
        flat[self.indices] = self.values
        return flat.view(self.shape)


def position_dtype(num_entries: int) -> torch.dtype:
    """The narrower integers that count a tensor's entries."""
    return torch.int32 if num_entries < 2**31 else torch.int64


class Parts(Protocol):
    """What a fine-tuning is made of, for whoever applies it or writes it to a file."""

    @property
    def entries(self) -> Mapping[str, SparseDelta]:
        """Parameter name -> selected entries."""

    @property
    def whole(self) -> Mapping[str, Tensor]:
        """Parameter name -> value of what is kept whole."""

    @property
    def metadata(self) -> Metadata:
        """Where it comes from and what it is for."""
