"""The newest checkpoint of a fit, which it goes on from if something ends it."""

import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from typing_extensions import override

_REASONS = ("signal", "timed")


def folder_of(trainer: Trainer) -> Path:
    """Where checkpoints of a fit are: a ModelCheckpoint's folder, or the usual one."""
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, ModelCheckpoint) and saver.dirpath is not None:
            return Path(saver.dirpath)
    return Path(trainer.default_root_dir) / "checkpoints"


def write_newest(trainer: Trainer, reason: Literal["signal", "timed"]) -> str:
    """Write a checkpoint, and remove those that were written by this for earlier steps.

    Args:
        trainer: In a hook at the end of a step, on all ranks.
        reason: Begins the name, ``REASON-step=STEP.ckpt``.

    Returns:
        Where it is: beside those of a ModelCheckpoint, or in ``checkpoints/`` of
        ``default_root_dir``.
    """
    folder = folder_of(trainer)
    path = folder / f"{reason}-step={trainer.global_step}.ckpt"
    trainer.save_checkpoint(path, weights_only=False)
    if trainer.is_global_zero:
        remove_newest(folder, but=path)
    return str(path)


def remove_newest(folder: Path, but: Path | None = None) -> None:
    """Remove what :func:`write_newest` wrote.

    Args:
        folder: Where to.
        but: This one stays.
    """
    for reason in _REASONS:
        for path in folder.glob(f"{reason}-step=*.ckpt"):
            if path != but:
                path.unlink(missing_ok=True)


def reduced(trainer: Trainer, value: int) -> int:
    """The greatest value of all ranks."""
    if trainer.world_size == 1:
        return value
    greatest = torch.tensor(value, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(greatest, torch.distributed.ReduceOp.MAX)
    return int(greatest)


class AtStepEnd(Callback):
    """Calls :meth:`on_step_end` once an optimizer step is taken, not while gradients are kept."""

    _step = 0

    def on_step_end(self, trainer: Trainer) -> None:
        """An optimizer step has been taken, of all its micro-batches."""
        raise NotImplementedError

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self.on_step_end(trainer)


class TimedCheckpoint(AtStepEnd, Checkpoint):
    """Writes the newest checkpoint by the clock, as a pass may take days.

    ``train_time_interval`` of ModelCheckpoint writes between micro-batches too, whose gradients are
    in no checkpoint, and never where a module optimizes by hand.

    Args:
        minutes: What a fit that is killed loses at most; a model of a gigabyte is written in a few
            seconds.
    """

    def __init__(self, minutes: float = 15.0) -> None:
        self.minutes = minutes
        self._written_at = 0.0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._written_at = time.monotonic()

    @override
    def on_step_end(self, trainer: Trainer) -> None:
        is_due = time.monotonic() - self._written_at >= 60 * self.minutes
        if reduced(trainer, int(is_due)):
            self._written_at = time.monotonic()
            write_newest(trainer, "timed")
