"""Entries drawn at random: RAND-SFT."""

from collections.abc import Iterator
from zlib import crc32

import torch
from torch import Tensor

from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class Random(Selection):
    """K entries drawn uniformly without replacement: RAND-SFT (Ansell et al., 2022, §4.1).

    Every entry draws a random number and the K largest win, so that the draw needs no memory beyond
    the mask. It depends on the seed, on what the ticket is for (task and language, in a fit of one
    of our tasks) and on the names and sizes of the parameters alone, hence is the same on all ranks
    and devices. Were it the same for a language and a task, all that they change would meet.

    Args:
        seed: Seed of the draw.
    """

    looks_at = "nothing"
    works_on_shards = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        drawn_for = " ".join(filter(None, (str(self.seed), candidates.purpose)))

        def draw() -> Iterator[tuple[str, Tensor]]:
            for name, parameter in candidates.parameters():
                shard = candidates.shards[name]
                # Each tensor has a generator of its own, so that choosing layer by layer does not
                # repeat one draw in all of them.
                generator = torch.Generator().manual_seed(crc32(f"{drawn_for} {name}".encode()))
                # 31 random bits: among 2e8 entries ties at the threshold are rare, and `rand`'s 24
                # bits would favour early positions measurably.
                drawn = torch.randint(
                    2**31 - 1, shard.shape, generator=generator, dtype=torch.int32
                )
                here = drawn.view(-1)[shard.first : shard.first + parameter.numel()]
                yield name, here.view(parameter.shape)

        devices = {name: parameter.device for name, parameter in candidates.parameters()}
        mask = candidates.largest(draw, num_params)
        return mask.to(devices)
