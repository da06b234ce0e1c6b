"""The two selections that leave nothing to choose."""

import torch

from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class AllEntries(Selection):
    """Every maskable entry: full fine-tuning, in one phase.

    The result is a difference like any other, with as many entries as the encoder has, so it can be
    composed and compared; its file takes 8 bytes an entry.
    """

    looks_at = "nothing"
    needs_budget = False

    def select(self, candidates: Candidates, num_params: int = 0) -> Mask:  # noqa: D102
        return _uniform(candidates, True)


class NoEntries(Selection):
    """No entry: only whole parameters train, such as heads and adapters, in one phase."""

    looks_at = "nothing"
    needs_budget = False
    needs_entries = False
    works_on_shards = True

    def select(self, candidates: Candidates, num_params: int = 0) -> Mask:  # noqa: D102
        return _uniform(candidates, False)


def _uniform(candidates: Candidates, value: bool) -> Mask:
    return Mask(
        {n: torch.full_like(p, value, dtype=torch.bool) for n, p in candidates.parameters()}
    )
