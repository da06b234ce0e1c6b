"""The best weights of each phase, by the monitored metric, and how they scored."""

import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ltsft.callbacks.best_weights import BestWeights
from ltsft.callbacks.monitor import Monitor
from ltsft.errors import LtsftError
from ltsft.sparse import PhaseName, Ticket


class Keeper:
    """Keeps the weights of the best validation of a phase, and puts them back at its end.

    Args:
        monitor: The metric. Without one, a phase ends with its last weights.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.best = BestWeights(monitor.mode)
        self.scored: dict[PhaseName, float | None] = {}

    @property
    def keeps(self) -> bool:
        """Whether there is a metric to keep weights by."""
        return self.monitor.name is not None

    def begin_phase(self) -> None:
        """Forget the weights of the phase before."""
        self.best = BestWeights(self.monitor.mode)

    def offer(self, ticket: Ticket, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights of a validation if it is the best so far.

        The sanity check before training only has to log the metric; of several loaders Lightning
        keeps none then.

        Raises:
            LtsftError: If the validation did not log the metric, or it is not finite.
        """
        if not self.keeps or (trainer.sanity_checking and len(trainer.num_val_batches) > 1):
            return
        value = self.monitor.value(trainer, pl_module)
        if trainer.sanity_checking:
            return
        if not math.isfinite(value):
            raise LtsftError(
                f"`{self.monitor.name}` is expected to be finite, but was {value} after step "
                f"{trainer.global_step:,}: training diverged; lower the learning rate or clip "
                "gradients (`trainer.gradient_clip_val: 1.0`)."
            )
        self.best.offer(value, ticket.movable())

    def put_back(self, ticket: Ticket, phase: PhaseName) -> None:
        """Put the best weights of a phase back, if any were kept.

        Raises:
            LtsftError: If the phase had no validation.
        """
        if self.keeps:
            if self.best.value is None:
                raise LtsftError(
                    f"`{self.monitor.name}` is expected to be validated at least once in the "
                    f"{phase} phase, but was not; leave `sparse.monitor` out, or validate."
                )
            rank_zero_info(f"Best {self.monitor.name} of the {phase} phase: {self.best.value:.4f}.")
            if (num_equal := self.best.num_all_equal) > 1:
                rank_zero_warn(
                    f"`{self.monitor.name}` was {self.best.value:.4f} at the best and last "
                    f"{num_equal} validations of the {phase} phase alike, of which the weights of "
                    "the first are kept: train longer, or choose by another metric "
                    "(`sparse.monitor`)."
                )
            ticket.put(self.best.weights)
        self.scored[phase] = self.best.value

    def state_dict(self) -> dict[str, Any]:
        """Best weights and scores, as tensors and primitives."""
        return {"best": self.best.state_dict(), "scored": self.scored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.best.load_state_dict(state["best"])
        self.scored = state["scored"]
