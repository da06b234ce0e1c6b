"""Whether what is to be trained can be, and still is: numbers that are numbers."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ltsft.errors import LtsftError
from ltsft.sparse import Scope, SparseFineTuning
from ltsft.sparse.names import named_parameters
from ltsft.sparse.shard import local


def check_settled(root: nn.Module) -> None:
    """Refuse parameters that have no shape yet.

    Raises:
        LtsftError: If there is one.
    """
    for name, parameter in root.named_parameters():
        if is_lazy(parameter):
            raise LtsftError(
                f"parameters are expected to have shapes when a fit begins, but `{name}` is lazy; "
                "run a batch through the module first, or say its size."
            )


def check_values(root: nn.Module, scope: Scope) -> None:
    """Refuse parameters that cannot be trained: in float16, complex, or not finite.

    Raises:
        LtsftError: If there is one, before any step is spent on it.
    """
    parameters = dict(named_parameters(root))
    for name in scope.trained:
        parameter = local(parameters[name]).detach()
        if parameter.dtype == torch.float16:
            raise LtsftError(
                f"parameters that train are expected to be float32, but `{name}` is float16, in "
                "which small steps vanish; load the model with `dtype=torch.float32`, and use "
                "`trainer.precision: 16-mixed` or `bf16-mixed` for speed."
            )
        if parameter.is_complex():
            raise LtsftError(
                f"parameters that train are expected to be real numbers, but `{name}` is complex; "
                "keep its real and its imaginary part as two, or set its `requires_grad` to False."
            )
        if parameter.numel() and not all(map(torch.isfinite, torch.aminmax(parameter))):
            raise LtsftError(
                f"parameters that train are expected to be finite when a fit begins, but `{name}` "
                "has NaN or infinity in it; load the model again."
            )


def check_schedules(trainer: Trainer) -> None:
    """Refuse schedules over the Trainer's epochs where phases are counted in steps.

    Raises:
        LtsftError: If one is over -1 of them, by which rates grow beyond all bounds.
    """
    for config in trainer.lr_scheduler_configs:
        for option in ("T_max", "total_iters"):
            if getattr(config.scheduler, option, None) == -1:
                raise LtsftError(
                    f"`{option}` of {type(config.scheduler).__name__} is expected to be a length, "
                    "but got -1: the Trainer has no epochs where phases are counted in steps; take "
                    "`self.trainer.estimated_stepping_batches`, the length of each phase, with "
                    '`"interval": "step"`, or give phases `max_epochs`.'
                )


class FiniteLoss:
    """Stops a fit whose loss is no number any more.

    The loss of a step is looked at after the next one, as a GPU is not waited for then.
    """

    def __init__(self) -> None:
        self._last: tuple[Tensor, int, int] | None = None

    def look(self, outputs: Any, step: int, batch_idx: int) -> None:
        """Note the loss of a batch, and look at that of the one before.

        Args:
            outputs: What the training step returned.
            step: Optimizer steps taken in the fit.
            batch_idx: Number of the batch in its pass.

        Raises:
            LtsftError: If that was NaN or infinite.
        """
        self.check()
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._last = loss.detach(), step, batch_idx

    def check(self) -> None:
        """Look at the last one that was noted.

        Raises:
            LtsftError: If it was NaN or infinite.
        """
        last, self._last = self._last, None
        if last is not None and not torch.isfinite(last[0]):
            raise LtsftError(
                f"the loss is expected to be finite, but was {float(last[0])} at step {last[1]:,} "
                f"(batch {last[2]} of its pass): training diverged, or the batch is odd; lower the "
                "learning rate, clip gradients (`trainer.gradient_clip_val: 1.0`), and look at it."
            )


def unchanged(sft: SparseFineTuning) -> str:
    """A line about selected entries that ended where they began; empty if all moved."""
    still = sum(int((delta.values == 0).sum()) for delta in sft.entries.values())
    if not still:
        return ""
    return (
        f"Of the {sft.num_params:,} selected entries {still:,} ended where they began: the sparse "
        "phase is short, or its rate low."
    )
