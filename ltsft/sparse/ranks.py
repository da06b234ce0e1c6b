"""The processes of a distributed run, and what they tell each other.

Passed in wherever it matters who else there is, so that no algorithm has a distributed twin.
"""

from typing import Any

import torch.distributed as dist
from torch import Tensor

from ltsft.errors import LtsftError


class Ranks:
    """One process alone: its own answer is everybody's. Others override what they need.

    The last two methods are all that selecting needs of ranks that each hold a *shard* of every
    tensor. Where each holds all of it, as here and under DDP, there is nothing to add up.
    """

    hold_shards = False
    """Whether each process holds a part of every tensor, instead of all of it."""

    averages_gradients = False
    """Whether gradients are averaged over the ranks, which is after a backward pass."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in rank order.

        Args:
            value: This rank's; anything that can be pickled.
        """
        return [value]

    def check_equal(self, value: Any, what: str) -> None:
        """Refuse to go on if the ranks disagree.

        Args:
            value: This rank's.
            what: What it is of, for the message.

        Raises:
            LtsftError: On all ranks alike, if any differs.
        """
        values = self.gather(value)
        if any(other != values[0] for other in values):
            raise LtsftError(
                f"{what} is expected to be the same on all {len(values)} ranks, but differs; log "
                "the monitored metric with `sync_dist=True` and seed all ranks alike "
                "(`seed_everything`)."
            )

    def sum_counts(self, counts: Tensor) -> Tensor:
        """Counts over the entries of all ranks, each entry once.

        Args:
            counts: Those over this rank's entries, int64, any shape.
        """
        return counts

    def order_ties(self, num_ties: int) -> tuple[int, int]:
        """Where this rank's entries stand among equal ones of one tensor.

        Args:
            num_ties: How many of them this rank holds.

        Returns:
            How many come before them on other ranks, and how many there are on all ranks.
        """
        return 0, num_ties


class Replicas(Ranks):
    """The ranks of a process group, each of which holds all weights: DDP."""

    averages_gradients = True

    def gather(self, value: Any) -> list[Any]:  # noqa: D102
        values: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(values, value)
        return values


def current_ranks() -> Ranks:
    """The ranks of the process group that this process is in, if it is in one."""
    return Replicas() if dist.is_available() and dist.is_initialized() else Ranks()
