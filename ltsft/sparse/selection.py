"""Which K entries may move: criteria as small objects with one method."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ltsft.sparse.mask import Mask
from ltsft.sparse.ranking import select_largest
from ltsft.sparse.scope import Scope, owned_by


@dataclass(frozen=True)
class Candidates:
    """The entries to choose from: a module as it is now, and where it started.

    Args:
        module: The module that holds the parameters.
        scope: Its maskable, whole and frozen parameters.
        initial: Values before the dense phase of at least the maskable parameters, by name.
    """

    module: nn.Module
    scope: Scope
    initial: Mapping[str, Tensor] = field(repr=False)

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and current value of each maskable parameter, in the module's order."""
        parameters = dict(self.module.named_parameters())
        return ((name, parameters[name]) for name in self.scope.maskable)

    def changes(self) -> Iterator[tuple[str, Tensor]]:
        """Name and |θ - θ⁰| of each maskable parameter, one tensor at a time.

        Differences are taken in float32, or in float64 if any maskable parameter has it, so that
        parameters of several types are ranked on one scale.
        """
        dtypes = {parameter.dtype for _, parameter in self.parameters()}
        dtype = torch.float64 if torch.float64 in dtypes else torch.float32
        for name, parameter in self.parameters():
            current = parameter.detach().to(dtype)
            yield name, (current - self.initial[name].to(current.device, dtype)).abs_()

    def num_maskable(self) -> int:
        """Number of maskable entries."""
        return sum(parameter.numel() for _, parameter in self.parameters())


class Selection(ABC):
    """A criterion that chooses the entries that may move in the sparse phase."""

    needs_dense_phase: ClassVar[bool]
    """Whether the choice depends on weights trained in a dense phase."""

    needs_budget: ClassVar[bool] = True
    """Whether K is given from outside; otherwise the criterion itself implies it."""

    @abstractmethod
    def select(self, candidates: Candidates, num_params: int) -> Mask:
        """Choose the entries.

        Args:
            candidates: The maskable parameters, their initial and their current values.
            num_params: K, the number of entries to choose (ignored unless `needs_budget`).

        Returns:
            The mask over the maskable parameters, with exactly K entries True.
        """

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """What is worth a word in the log about a choice; begins with a separator."""
        return ""


class LargestChange(Selection):
    """The K entries that changed most in the dense phase: LT-SFT.

    Ansell et al. (2022), §3.1: the largest |θ¹ - θ⁰| over all tensors together. Ties as in
    :func:`~ltsft.sparse.ranking.select_largest`.
    """

    needs_dense_phase = True

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        return select_largest(candidates.changes, num_params)

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """The least change that was selected beside the greatest that was not."""
        kept, left_out = [], []
        for name, change in candidates.changes():
            selected = mask[name].to(change.device)
            kept += [change[selected].min().item()] if selected.any() else []
            left_out += [change[~selected].max().item()] if not selected.all() else []
        least = f"{min(kept):.3e}" if kept else "none"
        greatest = f"{max(left_out):.3e}" if left_out else "none"
        return f"; smallest |Δ| selected {least}, largest left out {greatest}"


class Random(Selection):
    """K entries drawn uniformly without replacement: RAND-SFT (Ansell et al., 2022, §4.1).

    Every entry draws a random number and the K largest win, so that the draw needs no memory beyond
    the mask. It depends on the seed and on the order and sizes of the parameters alone, hence is
    the same on all ranks and devices.

    Args:
        seed: Seed of the draw.
    """

    needs_dense_phase = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        def draw() -> Iterator[tuple[str, Tensor]]:
            generator = torch.Generator().manual_seed(self.seed)
            for name, parameter in candidates.parameters():
                # 31 random bits: among 2e8 entries ties at the threshold are rare, and `rand`'s 24
                # bits would favour early positions measurably.
                yield (
                    name,
                    torch.randint(
                        2**31 - 1, parameter.shape, generator=generator, dtype=torch.int32
                    ),
                )

        devices = {name: parameter.device for name, parameter in candidates.parameters()}
        mask = select_largest(draw, num_params)
        return Mask({name: tensor.to(devices[name]) for name, tensor in mask.items()})


class Biases(Selection):
    """All maskable biases except those of normalisation layers: BitFit as the paper has it.

    Ansell et al. (2022), §4.2, after Ben Zaken et al. (2022): 82,944 entries in a BERT base without
    pooler, 0.047% of mBERT. K follows from the model, no budget is given.
    """

    needs_dense_phase = False
    needs_budget = False

    def select(self, candidates: Candidates, num_params: int = 0) -> Mask:  # noqa: D102
        normalisation = owned_by(candidates.module, "*Norm")
        return Mask(
            {
                name: torch.full_like(
                    parameter,
                    name.split(".")[-1] == "bias" and name not in normalisation,
                    dtype=torch.bool,
                )
                for name, parameter in candidates.parameters()
            }
        )
