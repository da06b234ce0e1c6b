"""Gradients of an embedding for the rows that a batch looked up, and no others."""

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from ltsft.sparse.holds.part import Part


def take_by_rows(embedding: nn.Embedding, part: Part) -> Callable[[], None]:
    """Let an embedding's backward pass make no gradient of the vocabulary's size.

    Args:
        embedding: For which :func:`can_be_taken_by_rows` holds.
        part: The selected entries of its weight.

    Returns:
        Undoes it.
    """
    rows = _Rows(part, embedding.padding_idx)

    @torch.compiler.disable
    def forward(ids: Tensor) -> Tensor:
        output: Tensor = _LookUp.apply(ids, embedding.weight, rows)
        return output

    embedding.forward = forward  # type: ignore[method-assign]
    return lambda: delattr(embedding, "forward")


def can_be_taken_by_rows(module: nn.Module) -> TypeGuard[nn.Embedding]:
    """Whether a module only looks up rows of its weight, in single or double precision."""
    return (
        isinstance(module, nn.Embedding)
        and type(module).forward is nn.Embedding.forward
        and "forward" not in vars(module)
        and module.max_norm is None
        and not module.scale_grad_by_freq
        and module.weight.dtype in (torch.float32, torch.float64)
    )


class _Rows:
    """Where the selected entries of each row are.

    Args:
        part: They, sorted by position.
        padding_idx: A row that gets no gradient.
    """

    def __init__(self, part: Part, padding_idx: int | None) -> None:
        self.part = part
        self.padding_idx = padding_idx
        num_rows, self.width = part.parameter.shape
        edges = torch.arange(num_rows + 1, device=part.indices.device) * self.width
        self.first = torch.searchsorted(
            part.indices, edges.to(part.indices.dtype)
        )  # and, one further, the end of each

    @torch.no_grad()
    def take(self, ids: Tensor, gradient: Tensor) -> None:
        """Add the gradient of looked-up rows to that of the selected entries.

        Args:
            ids: Which rows were looked up, any shape.
            gradient: Of what was looked up, [*ids.shape, width].
        """
        used, place = ids.flatten().unique(return_inverse=True)
        sums = gradient.new_zeros(len(used), self.width)
        sums.index_add_(0, place, gradient.reshape(-1, self.width))
        if self.padding_idx is not None:
            sums[used == self.padding_idx] = 0
        first, counts = self.first[used], self.first[used + 1] - self.first[used]
        row = torch.arange(len(used), device=used.device).repeat_interleave(counts)
        ends = counts.cumsum(0)
        at = torch.arange(len(row), device=row.device) - (ends - counts - first)[row]
        entries = gradient.new_zeros(len(self.part.indices))
        entries[at] = sums[row, self.part.indices[at] % self.width]
        self.part.add(entries)


class _LookUp(torch.autograd.Function):
    """``weight[ids]``, whose gradient goes to the selected entries at once."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, rows: _Rows) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = rows
        return nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.rows.take(*ctx.saved_tensors, gradient)
        return None, None, None
