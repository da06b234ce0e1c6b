"""The metric that the best weights of a phase are chosen by."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ltsft.callbacks.best_weights import Mode
from ltsft.callbacks.trainer_loops import has_validation
from ltsft.errors import LtsftError


class Monitor:
    """A logged metric, and whether small or great values of it are best.

    Args:
        name: The metric; ``None``: the module's ``monitor``, if it has one.
        mode: ``min`` or ``max``; ``None``: the module's ``monitor_mode``.
        pl_module: The module in training.

    Raises:
        LtsftError: If it is not known which values are best.
    """

    def __init__(self, name: str | None, mode: Mode | None, pl_module: LightningModule) -> None:
        self._asked_for = name
        of_module, own_mode = (getattr(pl_module, key, None) for key in ("monitor", "monitor_mode"))
        self.name: str | None = name or of_module
        chosen = mode or (own_mode if self.name == of_module else None)
        if self.name is not None and chosen not in ("min", "max"):
            whose = "" if name else " (the module's `monitor`)"
            raise LtsftError(
                f"`sparse.mode` is expected to be `min` or `max` for the metric {self.name!r}"
                f"{whose}, but got {chosen!r}; set it, or the module's `monitor_mode`."
            )
        self.mode: Mode = chosen if chosen in ("min", "max") else "min"

    def check_validation(self, trainer: Trainer) -> None:
        """Do without the metric where there is nothing to validate on.

        Raises:
            LtsftError: If the metric was asked for.
        """
        if self.name is not None and has_validation(trainer):
            return
        if self._asked_for:
            raise LtsftError(
                f"`sparse.monitor` is expected to be a metric of the validation, but "
                f"{self._asked_for!r} never appears without one; give validation data or leave it "
                "out."
            )
        self.name = None
        rank_zero_info("No monitored metric: each phase ends with its last weights.")

    def value(self, trainer: Trainer, pl_module: LightningModule) -> float:
        """The metric as logged last, the mean over ranks, so that all agree on the best weights.

        Raises:
            LtsftError: If it was not logged.
        """
        metrics = trainer.callback_metrics
        if self.name not in metrics:
            raise LtsftError(
                f"`sparse.monitor` is expected to be a metric that the validation logs, but "
                f"{self.name!r} is none of {', '.join(sorted(metrics)) or 'none at all'}."
            )
        value = metrics[self.name].detach().to(pl_module.device).clone()
        return float(trainer.strategy.reduce(value, reduce_op="mean"))
