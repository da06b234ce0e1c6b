"""Entries that changed much and weigh much."""

from collections.abc import Iterator

from torch import Tensor

from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class ChangeTimesMagnitude(Selection):
    """The K entries with the largest |θ¹ - θ⁰| · |θ¹|, where θ¹ is the value after the dense phase.

    A first-order criterion without gradients. Molchanov et al. (2019) rate a weight by |g · θ|, the
    change of the loss, to first order, if it were removed; Sanh et al. (2020, movement pruning) sum
    -g · θ over the steps of a fine-tuning, which rewards weights that move away from 0. Here the
    sum of the steps, θ¹ - θ⁰, takes the place of the gradient (under plain SGD it is -η Σ g), and θ
    is the value that the steps led to: of two equal changes, the one away from 0 wins. Ties as in
    :func:`~ltsft.sparse.ranking.select_largest`.
    """

    looks_at = "weights"
    works_on_shards = True

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        def scores() -> Iterator[tuple[str, Tensor]]:
            parameters = dict(candidates.parameters())
            for name, change in candidates.changes():
                yield name, change.mul_(parameters[name].detach().to(change.dtype).abs())

        return candidates.largest(scores, num_params)
