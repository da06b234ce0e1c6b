"""Which examples make up each batch, on each rank, in each pass."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ltsft.errors import LtsftError

T = TypeVar("T")

_BATCHES_SORTED = 50
"""Batches whose examples are sorted by length together; more would make a pass less random."""


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


@dataclass(frozen=True)
class Mixing:
    """How the examples of several languages are mixed, and which of them share a batch.

    Args:
        temperature: Each language takes part with (batches of the largest) · (its share of them) to
            the power of 1 / temperature. 1: every example once a pass, as in Ansell et al. (2022),
            §4.4. Larger: small languages more often. Infinite: all as often as the largest.
        by_length: Put examples of similar length into a batch, so that less is padding: of every
            50 batches' examples in their random order, the longest go together.

    Raises:
        LtsftError: If the temperature is below 1.
    """

    temperature: float = 1.0
    by_length: bool = False

    def __post_init__(self) -> None:
        if not self.temperature >= 1:
            raise LtsftError(
                "`data.init_args.temperature` is expected to be 1 (languages by size) or more "
                f"(small ones more often; .inf: all alike), but got {self.temperature}."
            )

    def num_batches(self, sizes: Sequence[int], batch_size: int) -> list[int]:
        """Batches of each language in one pass; each has at least those that hold it once.

        Example:
            >>> [Mixing(t).num_batches([400, 4], 4) for t in (1, 2, float("inf"))]
            [[100, 1], [100, 10], [100, 100]]
        """
        needed = [-(-size // batch_size) for size in sizes]
        most = max(needed, default=0)
        return [round(most * (number / most) ** (1 / self.temperature)) for number in needed]


class TrainingSampler:
    """Micro-batches of a pass in an order that depends on (seed, phase, pass) only.

    Each language's examples are permuted and cut into global batches: the examples of one optimizer
    step over all ranks and accumulated micro-batches. So every step is of one language, whose last
    batch is filled up with its first examples: each step has the same size, and each example is
    seen at least once. The batches of several languages are shuffled. Each is then cut into
    micro-batches, taken by the ranks in turn. So any number of ranks, and any accumulation, takes
    the same global batches in the same order.

    Args:
        sizes: Number of examples of each language, which follow one another in the data.
        global_batch_size: Examples per optimizer step, over all ranks and accumulation.
        rank: Number of this process.
        world_size: Number of processes.
        accumulate: Micro-batches per optimizer step and process.
        seed: Seed of the order.
        mixing: How languages are mixed, and what shares a batch.
        lengths: Length of each example [N]; needed by `mixing.by_length`.

    Raises:
        LtsftError: If `global_batch_size` is not a multiple of `world_size` · `accumulate`.
    """

    def __init__(
        self,
        sizes: int | Sequence[int],
        global_batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        seed: int = 0,
        mixing: Mixing = Mixing(),
        lengths: Tensor | None = None,
    ) -> None:
        parts = world_size * accumulate
        if global_batch_size < 1 or global_batch_size % parts:
            fits = max(1, round(global_batch_size / parts)) * parts
            raise LtsftError(
                "`data.init_args.global_batch_size` is expected to be a multiple of processes · "
                f"`trainer.accumulate_grad_batches` = {world_size} · {accumulate}, but got "
                f"{global_batch_size}; set it to {fits}, or change the other two."
            )
        self.sizes = [sizes] if isinstance(sizes, int) else list(sizes)
        self.global_batch_size = global_batch_size
        self.micro_batch_size = global_batch_size // parts
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.mixing = mixing
        self.phase = "dense"
        self.pass_index = 0
        self._lengths = lengths
        self._passes_are_set = False
        self._batches_of_each = mixing.num_batches(self.sizes, global_batch_size)
        self._num_batches = sum(self._batches_of_each) * accumulate

    def __len__(self) -> int:
        """Micro-batches of one pass on one rank."""
        return self._num_batches

    @property
    def settings(self) -> dict[str, Any]:
        """All that the order depends on, but the pass; primitives only."""
        return {
            "num_examples": self.sizes,
            "global_batch_size": self.global_batch_size,
            "seed": self.seed,
            **asdict(self.mixing),
        }

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
        self.phase, self.pass_index, self._passes_are_set = phase, pass_index, True

    def set_epoch(self, epoch: int) -> None:
        """Take Lightning's epoch for the pass, if nobody says better by :meth:`set_pass`."""
        if not self._passes_are_set:
            self.pass_index = epoch

    @property
    def passes_are_set(self) -> bool:
        """Whether :meth:`set_pass` says which pass comes next, not Lightning's epoch."""
        return self._passes_are_set

    def order(self) -> Tensor:
        """Examples of the current pass over all ranks, global batch by global batch [N]."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, *self.current))
        rows, first = [], 0
        for size, num_batches in zip(self.sizes, self._batches_of_each, strict=True):
            num_drawn = num_batches * self.global_batch_size
            drawn = first + self._rounds(size, num_drawn, generator)
            rows.append(self._by_length(drawn).view(num_batches, self.global_batch_size))
            first += size
        batches = torch.cat(rows)
        if len(self.sizes) > 1 or self.mixing.by_length:
            batches = batches[torch.randperm(len(batches), generator=generator)]
        return batches.flatten()

    def _rounds(self, size: int, num_drawn: int, generator: torch.Generator) -> Tensor:
        """A language's examples in random order, filled up to whole batches; and once more."""
        in_a_round = -(-size // self.global_batch_size) * self.global_batch_size
        filled_up = torch.arange(in_a_round) % size
        num_rounds = -(-num_drawn // in_a_round)
        rounds = [torch.randperm(size, generator=generator)[filled_up] for _ in range(num_rounds)]
        return torch.cat(rounds)[:num_drawn]

    def _by_length(self, drawn: Tensor) -> Tensor:
        """Sort by length within every so many batches."""
        if not self.mixing.by_length:
            return drawn
        assert self._lengths is not None
        lengths = self._lengths
        windows = drawn.split(_BATCHES_SORTED * self.global_batch_size)
        return torch.cat([window[lengths[window].argsort(stable=True)] for window in windows])

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


def unshard(shards: Sequence[Sequence[T]]) -> list[T]:
    """Put what ranks made of their evaluation examples into the order of the data.

    Args:
        shards: By rank; rank r has the examples r, r + number of ranks, and so on.

    Example:
        >>> unshard([["a", "c", "e"], ["b", "d"]])
        ['a', 'b', 'c', 'd', 'e']
    """
    total = sum(map(len, shards))
    return [shards[number % len(shards)][number // len(shards)] for number in range(total)]
