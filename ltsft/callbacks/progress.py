"""Progress of a fit: one bar per phase with the whole fit's time left, or lines in a log."""

import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from typing_extensions import override

from ltsft.callbacks.clock import Clock
from ltsft.callbacks.time_left import TimeLeft

SECONDS_BETWEEN_LINES = 60
"""How often a log that is no terminal gets a line."""

_DEFAULTS = (TQDMProgressBar, RichProgressBar)
"""What Lightning takes where no bar is given, by whether `rich` is installed."""


class PhaseProgressBar(TQDMProgressBar):
    """Lightning's bar, over a phase instead of a pass, e.g. ``dense 120/400 … left=0:12:03``.

    `left` is the time until the end of the whole fit, all phases and validations included, as fast
    as it went so far. Where stdout is no terminal, there is no bar but a line a minute, so that a
    log on disk can be read.

    :class:`~ltsft.callbacks.SparseMaskCallback` puts it in place of Lightning's default bar.

    Args:
        refresh_rate: Batches between two updates; 0: no bar.
        **kwargs: Further options of Lightning's bar.
    """

    def __init__(self, refresh_rate: int = 1, **kwargs: Any) -> None:
        super().__init__(refresh_rate, **kwargs)
        self.clock: Clock | None = None  # of a fit that is running
        self._time_left = TimeLeft()
        self._place = -1
        self._next_line = 0.0
        self._is_live = sys.stdout.isatty() or "ipykernel" in sys.modules

    @property
    @override
    def is_enabled(self) -> bool:
        return self._is_live and super().is_enabled

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._place = -1
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        self._time_left.start(trainer.global_step)

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        clock = self.clock
        if clock is None:
            super().on_train_epoch_start(trainer, *args)
            return
        if clock.place != self._place:  # one bar over all passes of a phase
            self._place = clock.place
            if self._leave:
                self.train_progress_bar = self.init_train_tqdm()
            self.train_progress_bar.set_description(clock.phase, refresh=False)
            self.train_progress_bar.set_postfix_str("", refresh=False)
            self.train_progress_bar.reset(clock.num_steps)

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        clock = self.clock
        if clock is None:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            return
        done = clock.steps_done(trainer)
        if self._should_update(done, clock.num_steps):
            bar: Tqdm = self.train_progress_bar
            bar.n = done
            bar.set_postfix(self.get_metrics(trainer, pl_module))
        elif not self._is_live and self._enabled and trainer.is_global_zero:
            self._write_line_if_due(trainer, pl_module)

    @override
    def on_test_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_test_start(trainer, *args)
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    @override
    def on_predict_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_predict_start(trainer, *args)
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        nums = trainer.num_test_batches
        self._write_share_if_due(trainer, "testing", nums, batch_idx, dataloader_idx)

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        nums = trainer.num_predict_batches
        self._write_share_if_due(trainer, "predicting", nums, batch_idx, dataloader_idx)

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        if self.clock is None or not trainer.training:
            return metrics
        metrics.pop("v_num", None)
        left = self._time_left(trainer.global_step, self.clock.steps_left(trainer))
        return {"phase": self.clock.position(trainer), "left": left, **metrics}

    def _write_share_if_due(
        self, trainer: Trainer, what: str, nums: list[int | float], batch: int, loader: int
    ) -> None:
        """How far an evaluation is, over all its loaders."""
        if self._is_live or not self._enabled or not trainer.is_global_zero:
            return
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            print(f"{what} {sum(nums[:loader]) + batch + 1}/{sum(nums)} batches", flush=True)

    def _write_line_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        metrics = self.get_metrics(trainer, pl_module)
        told = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in metrics.items()
            if name not in ("phase", "left")
        )
        print(f"{metrics['phase']}, {metrics['left']} left, {told}", flush=True)


def show_phases(trainer: Trainer, pl_module: LightningModule, clock: Clock) -> Callable[[], None]:
    """Tell the bar of a fit its phases, and take one that can show them for Lightning's default.

    Returns:
        Has the bar forget them.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for place, bar in enumerate(callbacks):
        # A bar of a class of its user's stays, and so does one with other settings.
        if any(type(bar) is cls and bar.refresh_rate == cls().refresh_rate for cls in _DEFAULTS):
            callbacks[place] = PhaseProgressBar()
            callbacks[place].setup(trainer, pl_module, "fit")
    bars = [bar for bar in callbacks if isinstance(bar, PhaseProgressBar)]
    for phase_bar in bars:
        phase_bar.clock = clock

    def forget() -> None:
        for phase_bar in bars:
            phase_bar.clock = None

    return forget
