"""Signals of a cluster: a fit saves where it can be gone on from, and ends."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import override

from ltsft.callbacks.newest import AtStepEnd, reduced, write_newest
from ltsft.callbacks.trainer_loops import (
    cluster_environment,
    let_ranks_end,
    when_signals_are_registered,
)
from ltsft.errors import LtsftError


class Interrupted(SystemExit):
    """Ends a fit after a signal, with the exit status that shells have for it: 128 + its number.

    Args:
        number: The signal.
        path: The checkpoint to go on from.
    """

    def __init__(self, number: int, path: str) -> None:
        super().__init__(128 + number)
        self.number = number
        self.path = path


class SaveOnSignal(AtStepEnd):
    """On SIGTERM, SIGUSR1 or Ctrl-C, saves a checkpoint after the optimizer step, and ends the fit.

    Schedulers send a signal some time before they kill a job. Lightning saves on SLURM's at once,
    wherever Python happens to be: with half a step taken, gradients of some parameters, a
    language's fine-tuning in place. What goes on from there ends with other weights. Here the
    signal is only noted, and saved is where :class:`~lightning.pytorch.callbacks.ModelCheckpoint`
    saves too. Whichever rank gets the signal, all of them end.

    A validation that is under way is finished first; a second Ctrl-C ends the fit at once, without
    a checkpoint. On SLURM, after its requeue signal, the job is requeued, unless Lightning's
    ``SLURMEnvironment(auto_requeue=False)`` says otherwise; a requeued ``ltsft fit`` goes on from
    its newest checkpoint.

    The checkpoint is written beside those of a ModelCheckpoint, or in ``checkpoints/`` of
    ``default_root_dir``, as ``signal-step=STEP.ckpt``; an earlier one is removed.

    It comes after :class:`~ltsft.callbacks.SparseMaskCallback` in a trainer's callbacks; ``ltsft
    fit`` has both.

    Raises:
        LtsftError: If it comes before.
        Interrupted: Out of ``trainer.fit``, once it is saved.
    """

    def __init__(self) -> None:
        self._requeues = False
        self._requeue_signal: int = signal.SIGUSR1
        self._received: int | None = None
        self._undo: list[Callable[[], None]] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_is_after_the_phases(self, trainer)
        self._received = None
        environment = cluster_environment(trainer)
        self._requeues = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
        self._requeue_signal = getattr(environment, "requeue_signal", None) or signal.SIGUSR1
        if self._requeues:
            environment.auto_requeue = False  # Lightning's handler saves at once
            self._undo.append(lambda: setattr(environment, "auto_requeue", True))
        if threading.current_thread() is threading.main_thread():
            self._undo.append(when_signals_are_registered(trainer, self._listen))

    def _listen(self) -> None:
        """Take the place of Lightning's handlers, which it takes away itself in the end."""
        for number in (signal.SIGTERM, self._requeue_signal):
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note_or_end)

    def _note(self, number: int, frame: Any) -> None:
        self._received = number

    def _note_or_end(self, number: int, frame: Any) -> None:
        if self._received == number:
            raise KeyboardInterrupt
        self._received = number
        # `print` may not be called while another one is under way.
        os.write(2, b"\nSaving a checkpoint after this step; Ctrl-C again ends at once.\n")

    @override
    def on_step_end(self, trainer: Trainer) -> None:
        # Ranks may get theirs at different steps, or only one gets it.
        if number := reduced(trainer, self._received or 0):
            self._end(trainer, number)

    def _end(self, trainer: Trainer, number: int) -> None:
        path = write_newest(trainer, "signal")
        if number == self._requeue_signal and self._requeues and trainer.is_global_zero:
            requeue()
        let_ranks_end(trainer)
        raise Interrupted(number, path)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        while self._undo:
            self._undo.pop()()

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, pl_module, "fit")


def check_is_after_the_phases(callback: SaveOnSignal, trainer: Trainer) -> None:
    """Refuse a place in which a step would be saved before the phases count it.

    Raises:
        LtsftError: If it is before the callback that does.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    kinds = [type(c).__name__ for c in callbacks[callbacks.index(callback) :]]
    if "SparseMaskCallback" in kinds:
        raise LtsftError(
            "`callbacks` is expected to have SaveOnSignal after SparseMaskCallback, whose count of "
            "steps it saves, but it comes before; put it last."
        )


def requeue() -> None:
    """Have SLURM put the job that this process is part of into its queue again."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    if not re.fullmatch(r"\d+(_\d+)?", job):
        rank_zero_warn(f"The job cannot be requeued: SLURM_JOB_ID is {job!r}.")
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        rank_zero_warn(f"The job {job} could not be requeued: {reason}")
    else:
        rank_zero_info(f"The job {job} was requeued.")
