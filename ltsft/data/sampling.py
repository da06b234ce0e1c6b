"""Which examples make up each batch, on each rank, in each pass."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ltsft.errors import LtsftError


class Draw(NamedTuple):
    """One example of a batch.

    Args:
        example: Its number in the data.
        seed: What its random changes (masking) are drawn from.
    """

    example: int
    seed: int


class Pass(NamedTuple):
    """One pass over the training data.

    Args:
        phase: Name of the training phase.
        number: Number of the pass within the phase, from 0.
    """

    phase: str
    number: int


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from numbers and names; equal parts give equal seeds on every machine.

    Example:
        >>> derive_seed(0, "dense", 1) == derive_seed(0, "dense", 1) != derive_seed(0, "sparse", 1)
        True
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class TrainingSampler:
    """Micro-batches of a pass in an order that depends on (seed, phase, pass) only.

    A pass is a permutation of all examples, cut into global batches: the examples of one optimizer
    step over all ranks and accumulated micro-batches. Each global batch is cut into micro-batches,
    taken by the ranks in turn. So any number of ranks, and any accumulation, takes the same global
    batches in the same order. The last global batch is filled up with the pass's first examples:
    each step has the same size, and each example is seen at least once.

    Args:
        num_examples: Number of examples.
        global_batch_size: Examples per optimizer step, over all ranks and accumulation.
        rank: Number of this process.
        world_size: Number of processes.
        accumulate: Micro-batches per optimizer step and process.
        seed: Seed of the order.

    Raises:
        LtsftError: If `global_batch_size` is not a multiple of `world_size` · `accumulate`.
    """

    def __init__(
        self,
        num_examples: int,
        global_batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        seed: int = 0,
    ) -> None:
        parts = world_size * accumulate
        if global_batch_size < 1 or global_batch_size % parts:
            fits = max(1, round(global_batch_size / parts)) * parts
            raise LtsftError(
                "`data.init_args.global_batch_size` is expected to be a multiple of processes · "
                f"`trainer.accumulate_grad_batches` = {world_size} · {accumulate}, but got "
                f"{global_batch_size}; set it to {fits}, or change the other two."
            )
        self.num_examples = num_examples
        self.global_batch_size = global_batch_size
        self.micro_batch_size = global_batch_size // parts
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.phase = "dense"
        self.pass_index = 0
        self._passes_are_told = False
        self._num_steps = -(-num_examples // global_batch_size)
        self._num_batches = self._num_steps * accumulate

    def __len__(self) -> int:
        """Micro-batches of one pass on one rank."""
        return self._num_batches

    @property
    def examples_per_batch(self) -> int:
        """Examples that all ranks together take for one micro-batch each."""
        return self.micro_batch_size * self.world_size

    @property
    def current(self) -> Pass:
        """The pass that the next iteration goes over."""
        return Pass(self.phase, self.pass_index)

    def set_pass(self, phase: str, pass_index: int) -> None:
        """Say which pass comes next; from then on :meth:`set_epoch` is ignored."""
        self.phase, self.pass_index, self._passes_are_told = phase, pass_index, True

    def set_epoch(self, epoch: int) -> None:
        """Take Lightning's epoch for the pass, if nobody says better by :meth:`set_pass`."""
        if not self._passes_are_told:
            self.pass_index = epoch

    @property
    def passes_are_told(self) -> bool:
        """Whether :meth:`set_pass` says which pass comes next, not Lightning's epoch."""
        return self._passes_are_told

    def order(self) -> Tensor:
        """Examples of the current pass over all ranks, filled up to whole global batches [N]."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, *self.current))
        permutation = torch.randperm(self.num_examples, generator=generator)
        return permutation[
            torch.arange(self._num_steps * self.global_batch_size) % self.num_examples
        ]

    def batches(self, start: int = 0) -> Iterator[list[Draw]]:
        """This rank's micro-batches of the current pass, from number `start` on."""
        current = self.current
        mine = self.order().view(len(self), self.world_size, self.micro_batch_size)[:, self.rank]
        # The pass is fixed here, not when the first batch is drawn: workers draw ahead.
        return (
            [Draw(index, derive_seed(self.seed, *current, index)) for index in batch.tolist()]
            for batch in mine[start:]
        )

    def __iter__(self) -> Iterator[list[Draw]]:
        return self.batches()


class EvaluationSampler:
    """Batches in the order of the data, each example once over all ranks, always the same draws.

    Rank r takes the examples r, r + world size, …: shards differ by at most one example, and no
    rank is without any unless there are fewer examples than ranks.

    Args:
        num_examples: Number of examples.
        batch_size: Examples per batch on one rank.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of the examples' random changes.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.indices = range(rank, num_examples, world_size)
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        """Batches on this rank."""
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [
                Draw(index, derive_seed(self.seed, "evaluation", 0, index))
                for index in self.indices[start : start + self.batch_size]
            ]
