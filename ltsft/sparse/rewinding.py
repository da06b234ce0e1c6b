"""Where the sparse phase starts, and whether there is one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.mask import Mask
from ltsft.sparse.selection import Candidates

Weights = Mapping[str, Tensor]


class Rewinding(ABC):
    """A rule for the weights that the sparse phase starts from.

    Whatever the rule, unselected entries are those before training, bit for bit.
    """

    needs_sparse_phase: ClassVar[bool] = True
    """Whether the selected entries are trained again."""

    uses_dense_phase: ClassVar[bool] = True
    """Whether it depends on what the dense phase did; going back to the start does not."""

    works_on_shards: ClassVar[bool] = False
    """Whether it looks at each entry alone, so that ranks may hold some rows of each tensor."""

    step: int = 0
    """Optimizer step of the dense phase that weights and schedule go back to."""

    def __str__(self) -> str:
        """Name, and step where there is one."""
        return f"{type(self).__name__}({self.step})" if self.step else type(self).__name__

    @abstractmethod
    def selected(self, candidates: Candidates, mask: Mask, at_step: Weights) -> Weights:
        """Values of the selected entries, the whole parameters and buffers.

        Args:
            candidates: Weights before the dense phase, and its best ones in the module.
            mask: The selected entries.
            at_step: Weights at :attr:`step` of the dense phase, by name.

        Returns:
            Tensors by name; of maskable ones only the selected entries count. Those left out are
            as before training.
        """

    def start(self, candidates: Candidates, mask: Mask, at_step: Weights) -> dict[str, Tensor]:
        """All weights that the sparse phase starts from; arguments as in :meth:`selected`."""
        weights = dict(candidates.initial)
        for name, value in self.selected(candidates, mask, at_step).items():
            initial = weights[name]
            value = value.to(initial.device, initial.dtype)
            chosen = mask[name].to(initial.device) if name in mask else None
            weights[name] = value if chosen is None else torch.where(chosen, value, initial)
        return weights


class ToStart(Rewinding):
    """Everything goes back to where it started: Ansell et al. (2022), §3.1."""

    uses_dense_phase = False
    works_on_shards = True

    def selected(self, candidates: Candidates, mask: Mask, at_step: Weights) -> Weights:  # noqa: D102
        return {}


class ToStep(Rewinding):
    """Selected entries and heads go back to an early step, and so does the schedule.

    Frankle et al. (2019), "Stabilizing the lottery ticket hypothesis". The sparse phase lasts so
    many steps less, and its learning rate begins where the schedule is at that step. The optimizer
    starts afresh.

    Args:
        step: Optimizer step of the dense phase, from 1; below the lengths of both phases.

    Raises:
        LtsftError: If `step` is below 1.
    """

    works_on_shards = True

    def __init__(self, step: int) -> None:
        expect_type("sparse.rewinding.step", step, int, "ToStep(100)")
        if step < 1:
            raise LtsftError(
                f"`sparse.rewinding.step` is expected to be 1 or more, but got {step}; `ToStart` "
                "goes back to the start."
            )
        self.step = step

    def selected(self, candidates: Candidates, mask: Mask, at_step: Weights) -> Weights:  # noqa: D102
        return at_step


class LearningRate(Rewinding):
    """Selected entries and heads keep the dense phase's weights; only the schedule starts again.

    Renda et al. (2020), "Comparing rewinding and fine-tuning in neural network pruning".
    """

    works_on_shards = True

    def selected(self, candidates: Candidates, mask: Mask, at_step: Weights) -> Weights:  # noqa: D102
        now = candidates.state()  # buffers too, such as BatchNorm's statistics
        return {name: now[name] for name in candidates.initial}


class Sign(Rewinding):
    """Selected entries keep the direction of their change, not its size; heads start again.

    After Zhou et al. (2019), "Deconstructing lottery tickets", who set surviving weights to their
    sign times one constant a layer. Here it is the change that counts, so a selected entry starts
    at θ⁰ + sign(θ¹ - θ⁰) · c, where c is the mean size of the selected changes in its tensor.
    """

    def selected(self, candidates: Candidates, mask: Mask, at_step: Weights) -> Weights:  # noqa: D102
        values = {}
        for name, parameter in candidates.parameters():
            initial = candidates.initial[name].to(parameter.device)
            change = parameter.detach() - initial
            chosen = mask[name].to(parameter.device)
            if chosen.any():
                values[name] = initial + change.sign() * change[chosen].abs().mean()
        return values


class Prune(LearningRate):
    """No sparse phase: the selected entries and heads are those of the dense phase.

    Changes that are not selected are dropped without training again; what rewinding gains is the
    difference to this.
    """

    needs_sparse_phase = False
