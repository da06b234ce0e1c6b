"""The entries that a criterion chooses from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from ltsft.sparse.mask import Mask
from ltsft.sparse.names import named_buffers
from ltsft.sparse.ranking import Scores, Streamed, select_largest
from ltsft.sparse.ranks import Ranks
from ltsft.sparse.scope import Scope
from ltsft.sparse.shard import Shard, shards


@dataclass(frozen=True)
class Candidates:
    """The entries to choose from: a module as it is now, and where it started.

    Of parameters that ranks share out (FSDP2) there are only this rank's rows, in all that is
    yielded and in masks; numbers of entries are those of all ranks.

    Args:
        module: The module that holds the parameters.
        scope: Its maskable, whole and frozen parameters.
        initial: Values before the dense phase of at least the maskable parameters, by name.
        within: The maskable entries that may be chosen; ``None``: all.
        ranks: The processes that choose together.
        purpose: What the choice is for, so that chance does not repeat itself over purposes.
    """

    module: nn.Module
    scope: Scope
    initial: Mapping[str, Tensor] = field(repr=False)
    within: Mask | None = field(default=None, repr=False)
    ranks: Ranks = field(default_factory=Ranks, repr=False)
    purpose: str = ""

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Name and current value of each maskable parameter, in the module's order."""
        return ((name, self.shards[name].local) for name in self.scope.maskable)

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """Name and current value of each parameter that trains, the whole ones too."""
        return ((name, self.shards[name].local) for name in self.scope.trained)

    @cached_property
    def shards(self) -> dict[str, Shard]:
        """What this process has of each parameter, by name."""
        return shards(self.module)

    def state(self) -> dict[str, Tensor]:
        """Current values of parameters and buffers, by name."""
        parameters = {name: shard.local.detach() for name, shard in self.shards.items()}
        return parameters | dict(named_buffers(self.module))

    def differences(self) -> Iterator[tuple[str, Tensor]]:
        """Name and θ - θ⁰ of each maskable parameter, one tensor at a time, in :attr:`dtype`."""
        dtype = self.dtype
        for name, parameter in self.parameters():
            current = parameter.detach().to(dtype)
            yield name, current - self.initial[name].to(current.device, dtype)

    def changes(self) -> Iterator[tuple[str, Tensor]]:
        """Name and |θ - θ⁰| of each maskable parameter, one tensor at a time, in :attr:`dtype`."""
        return ((name, difference.abs_()) for name, difference in self.differences())

    def streamed_changes(self) -> Iterator[tuple[str, Streamed]]:
        """The same, each computed a piece at a time, for it is as large as the model."""
        dtype = self.dtype
        for name, parameter in self.parameters():
            current, start = parameter.detach().reshape(-1), self.initial[name].reshape(-1)

            def piece(first: int, end: int, now: Tensor = current, then: Tensor = start) -> Tensor:
                before = then[first:end].to(now.device, dtype)
                return (now[first:end].to(dtype) - before).abs_()

            yield name, Streamed(piece, parameter.shape, dtype, parameter.device)

    @property
    def dtype(self) -> torch.dtype:
        """What scores are computed in, so that parameters of several types have one scale.

        float32, or float64 if any maskable parameter has it.
        """
        dtypes = {parameter.dtype for _, parameter in self.parameters()}
        return torch.float64 if torch.float64 in dtypes else torch.float32

    def sizes(self) -> dict[str, int]:
        """Number of entries of each maskable parameter that may be chosen."""
        if self.within is not None:
            here = torch.tensor([int(self.within[name].sum()) for name in self.scope.maskable])
            counts = self.ranks.sum_counts(here).tolist()
            return dict(zip(self.scope.maskable, counts, strict=True))
        return {name: self.shards[name].shape.numel() for name in self.scope.maskable}

    def num_maskable(self) -> int:
        """Number of maskable entries."""
        return sum(self.shards[name].shape.numel() for name in self.scope.maskable)

    def largest(self, scores: Scores | Mapping[str, Tensor], num_params: int) -> Mask:
        """Choose the entries with the largest scores, of those that may be chosen.

        Args:
            scores: Scores of every maskable parameter, as
                :func:`~ltsft.sparse.ranking.select_largest` takes them.
            num_params: How many.
        """
        return select_largest(scores, num_params, self.within, self.ranks)

    def only(self, names: Iterable[str]) -> "Candidates":
        """The same, with no other maskable parameters than `names`."""
        return replace(self, scope=replace(self.scope, maskable=tuple(names)))
