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

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        return candidates.largest(candidates.changes, num_params)

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """The least change that was selected beside the greatest that was not."""
        kept, left_out = [], []
        for name, change in candidates.changes():
            selected = mask[name].to(change.device)
            others = ~selected
            if candidates.within is not None:
                others &= candidates.within[name].to(change.device)
            kept += [change[selected].min().item()] if selected.any() else []
            left_out += [change[others].max().item()] if others.any() else []
        least = f"{min(kept):.3e}" if kept else "none"
        greatest = f"{max(left_out):.3e}" if left_out else "none"
        return f"; smallest |Δ| selected {least}, largest left out {greatest}"
