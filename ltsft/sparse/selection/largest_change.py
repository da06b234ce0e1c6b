"""The entries that changed most: LT-SFT."""

from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class LargestChange(Selection):
    """The K entries that changed most in the dense phase: LT-SFT.

    Ansell et al. (2022), §3.1: the largest |θ¹ - θ⁰| over all tensors together. Ties as in
    :func:`~ltsft.sparse.ranking.select_largest`.
    """

    looks_at = "weights"
    works_on_shards = True

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        return candidates.largest(candidates.streamed_changes, num_params)

    def num_unchanged(self, candidates: Candidates, mask: Mask) -> int:
        """Those that are tied at 0, which needs no further look at the weights."""
        if mask.cut is None:  # of several rounds
            return super().num_unchanged(candidates, mask)
        return mask.cut.num_ties if mask.cut.least == 0 else 0

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """The least change that was selected beside the greatest that was not."""
        cut = mask.cut
        if cut is None:
            return ""
        least = "none" if cut.num_ties == 0 else f"{cut.least:.3e}"
        greatest = "none" if cut.greatest_left_out is None else f"{cut.greatest_left_out:.3e}"
        return f"; smallest |Δ| selected {least}, largest left out {greatest}"
