"""Rows of unequal length in one flat tensor."""

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor


class Ragged(Sequence[Tensor]):
    """Rows of whole numbers, stored one after the other.

    A million short tensors would take minutes to make and many times the memory, and could not be
    written to a file as they are.

    Args:
        values: The rows, one after the other, [sum of the lengths].
        ends: Where each row ends, [N], int64.

    Example:
        >>> rows = Ragged.of([[1, 2], [], [3]])
        >>> len(rows), rows[0], rows.lengths
        (3, tensor([1, 2]), tensor([2, 0, 1]))
    """

    def __init__(self, values: Tensor, ends: Tensor) -> None:
        self.values = values
        self.ends = ends

    @classmethod
    def of(cls, rows: Iterable[Iterable[int]]) -> "Ragged":
        """Store rows, as int32 values."""
        values, ends = array("i"), array("q")
        for row in rows:
            values.extend(row)
            ends.append(len(values))
        # By way of their buffers; torch would look at each number.
        return cls(torch.from_numpy(np.array(values)), torch.from_numpy(np.array(ends)))

    @property
    def lengths(self) -> Tensor:
        """Length of each row [N], int64."""
        return torch.diff(self.ends, prepend=self.ends.new_zeros(1))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> "list[Tensor]": ...

    def __getitem__(self, index: int | slice) -> "Tensor | list[Tensor]":
        """A row, int64."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self.ends[index - 1]) if index else 0
        return self.values[start : int(self.ends[index])].long()
