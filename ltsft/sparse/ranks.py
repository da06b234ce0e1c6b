"""The processes of a distributed run, and what they tell each other.

Passed in wherever it matters who else there is, so that no algorithm has a distributed twin.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.sparse.shard import is_sharded, reshard, shards


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

    def of_shards(self, value: Any) -> list[Any]:
        """The values of all that hold other entries than this rank, and its own, in rank order.

        Args:
            value: What this rank's entries give.
        """
        return self.gather(value) if self.hold_shards else [value]

    def check_supports(self, part: object, option: str) -> None:
        """Refuse what has to see whole tensors, where each process holds a shard of them.

        Args:
            part: What says ``works_on_shards`` of itself.
            option: Where it was set.

        Raises:
            LtsftError: If it does not.
        """
        if self.hold_shards and not getattr(part, "works_on_shards", False):
            raise LtsftError(
                f"`{option}` is expected to work on a rank's share of each tensor where parameters "
                f"are sharded (FSDP2), but {part} does not; set another, or train with DDP "
                "(`trainer.strategy: ddp`)."
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


class Shards(Replicas):
    """The ranks of a process group, each of which holds some rows of each parameter: FSDP2.

    Args:
        device: On which they sum; the backend may know no other.
    """

    hold_shards = True

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = device

    def sum_counts(self, counts: Tensor) -> Tensor:  # noqa: D102
        sums = counts.to(self._device, copy=True)
        dist.all_reduce(sums)
        return sums.to(counts.device)

    def order_ties(self, num_ties: int) -> tuple[int, int]:  # noqa: D102
        numbers = self.gather(num_ties)
        return sum(numbers[: dist.get_rank()]), sum(numbers)


def checked(ranks: Ranks, module: nn.Module, trained: Iterable[str]) -> Ranks:
    """The same ranks, if they fit what they train.

    Args:
        ranks: Who trains together.
        module: What they train.
        trained: Names of those of its parameters that train.

    Raises:
        LtsftError: If parameters are sharded and `ranks` are not, or in another way than row by
            row; or if there are sharded ones and others, whose gradients are not averaged.
    """
    by_name = shards(module)
    sharded = {name: by_name[name].is_part for name in trained}
    for name, is_part in sharded.items():
        if is_part and not ranks.hold_shards:
            raise LtsftError(
                f"`ranks` is expected to be those that share out `{name}`, but got "
                f"{type(ranks).__name__}; write `Ticket(module, ranks=current_ranks(module))`."
            )
        if not is_part and any(sharded.values()):
            raise LtsftError(
                f"parameters that train are expected to be sharded all or none, but `{name}` is "
                "not, and others are; call `fully_shard` with the module that holds it, too."
            )
    return ranks


def current_ranks(module: nn.Module | None = None) -> Ranks:
    """The ranks of the process group that this process is in, if it is in one.

    Args:
        module: What they train; says whether they share its parameters out.
    """
    if module is not None:
        reshard(module)
        for parameter in filter(is_sharded, module.parameters()):
            return Shards(parameter.device_mesh.device_type)
    return Replicas() if dist.is_available() and dist.is_initialized() else Ranks()
