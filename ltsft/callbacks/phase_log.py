"""The phase and the learning rate beside whatever is logged."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from ltsft.callbacks.clock import Clock


def log_phases(trainer: Trainer, clock: Clock) -> Callable[[], None]:
    """Have loggers tell the phases apart, each by its own means, and add the learning rate.

    A row of a CSV file gets the columns ``phase`` and ``lr``. Elsewhere metrics get the phase
    before their names (``dense/train_loss``), so that two curves are two.

    Returns:
        Undoes it.
    """
    undo = ExitStack()
    for logger in trainer.loggers:
        undo.callback(_extend(logger, trainer, clock))
    return undo.close


def _extend(logger: Logger, trainer: Trainer, clock: Clock) -> Callable[[], None]:
    log_metrics = logger.log_metrics

    def with_phase(metrics: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        more = {name: value for name, value in metrics.items() if name != "epoch"}
        more |= _learning_rates(trainer)
        phase = clock.phase if clock.leg.round == 0 else f"{clock.phase} {clock.leg.round + 1}"
        if isinstance(logger, CSVLogger):
            more["phase"] = phase
        else:
            more = {f"{phase}/{name}": value for name, value in more.items()}
        epoch = {"epoch": metrics["epoch"]} if "epoch" in metrics else {}
        log_metrics(epoch | more, *args, **kwargs)

    logger.log_metrics = with_phase  # type: ignore[method-assign]
    return lambda: delattr(logger, "log_metrics")


def _learning_rates(trainer: Trainer) -> dict[str, float]:
    """The rate of each optimizer: ``lr``, or ``lr-0`` and so on where there are several."""
    rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
    if len(rates) == 1:
        return {"lr": rates[0]}
    return {f"lr-{number}": rate for number, rate in enumerate(rates)}
