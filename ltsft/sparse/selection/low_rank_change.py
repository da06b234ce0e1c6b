"""Entries that changed most once each difference was denoised: DeFT-X."""

import torch
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask
from ltsft.sparse.ranking import select_largest
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class LowRankChange(Selection):
    """The K entries that changed most, after each difference was reduced to its main directions.

    DeFT-X (Simon and Jyothi, 2025): what a dense phase learned lies in the directions with large
    singular values, the rest is noise. Each 2-D difference θ¹ - θ⁰ is replaced by the sum of its
    leading singular directions, and the entries are ranked by the size of the result; differences
    of other dimensions are taken as they are. The denoised values only choose the entries: training
    starts from θ⁰ as always. Ties as in :func:`~ltsft.sparse.ranking.select_largest`.

    Each matrix is decomposed once, and its scores are kept for all passes of the ranking: while
    entries are chosen, memory is one float32 per maskable entry (float64 where weights are), beside
    the decomposition of one matrix at a time.

    Args:
        explained: Each matrix keeps the fewest directions whose squared singular values sum to at
            least this share of the total; above 0 and at most 1. 0.9 is one of the paper's two
            rules, one rank for all matrices the other.
        rank: Number of directions that each matrix keeps instead, at most.
        rest_density: The paper does not drop the sum of the other directions but prunes it by
            magnitude: share of its entries, the largest of each matrix, that is added again. 0:
            dropped altogether.

    Raises:
        LtsftError: If a value is out of range.
    """

    looks_at = "weights"

    def __init__(
        self, explained: float = 0.9, rank: int | None = None, rest_density: float = 0.0
    ) -> None:
        if not 0 < explained <= 1:
            raise LtsftError(
                "`explained` of `LowRankChange` is expected to be above 0 and at most 1 (a share "
                f"of the squared singular values), but got {explained}."
            )
        if rank is not None and rank < 1:
            raise LtsftError(
                f"`rank` of `LowRankChange` is expected to be 1 or more, but got {rank}."
            )
        if not 0 <= rest_density <= 1:
            raise LtsftError(
                "`rest_density` of `LowRankChange` is expected to be from 0 to 1 (a share of the "
                f"entries), but got {rest_density}."
            )
        self.explained = explained
        self.rank = rank
        self.rest_density = rest_density

    def __str__(self) -> str:
        kept = f"explained={self.explained}" if self.rank is None else f"rank={self.rank}"
        rest = f", rest_density={self.rest_density}" if self.rest_density else ""
        return f"{type(self).__name__}({kept}{rest})"

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        # Kept: a decomposition computed again need not be the same to the last bit.
        scores = {n: self._denoised(diff).abs_() for n, diff in candidates.differences()}
        return candidates.largest(scores, num_params)

    def _denoised(self, difference: Tensor) -> Tensor:
        if difference.dim() != 2:
            return difference
        if not bool(torch.isfinite(difference).all()):
            return difference  # refused by name when it is ranked
        low_rank = leading_directions(difference, self.explained, self.rank)
        if self.rest_density:
            rest = difference - low_rank
            num_kept = round(self.rest_density * rest.numel())
            low_rank += rest * select_largest({"rest": rest.abs()}, num_kept)["rest"]
        return low_rank


def leading_directions(matrix: Tensor, explained: float, rank: int | None = None) -> Tensor:
    """Sum of a matrix's leading singular directions.

    Args:
        matrix: [m, n], finite.
        explained: Keep the fewest directions whose squared singular values sum to at least this
            share of the total.
        rank: Keep this many, or as many as there are; `explained` is then ignored.

    Returns:
        The nearest matrix of that rank, [m, n] (Eckart and Young, 1936).

    Example:
        >>> leading_directions(torch.diag(torch.tensor([3.0, 1.0])), explained=0.9)
        tensor([[3., 0.],
                [0., 0.]])
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    if rank is None:
        energy = values.double().square().cumsum(0)
        rank = 1 + int((energy < explained * energy[-1]).sum()) if len(energy) else 0
    return (left[:, :rank] * values[:rank]) @ right[:rank]
