"""What the processes of a distributed run tell each other."""

from typing import Any

import torch.distributed as dist

from ltsft.errors import LtsftError


def gather(value: Any) -> list[Any]:
    """The values of all ranks, in rank order; of this process alone where there is no group."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def check_equal(value: Any, what: str) -> None:
    """Refuse to go on if the ranks disagree.

    Raises:
        LtsftError: On all ranks alike, if any differs.
    """
    values = gather(value)
    if any(other != values[0] for other in values):
        raise LtsftError(
            f"{what} is expected to be the same on all {len(values)} ranks, but differs; log the "
            "monitored metric with `sync_dist=True` and seed all ranks alike (`seed_everything`)."
        )
