"""When a checkpoint was written: between two steps, or where another fit would go on from it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ltsft.callbacks.trainer_loops import current_hook
from ltsft.errors import LtsftError

Hook = Literal[
    "on_train_start",
    "on_train_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
]
"""Hooks in which nothing is under way: no step, no validation, no change of phase."""

_KEY = "moment"


class Moment:
    """Notes in each checkpoint whether what goes on from it would be the same fit.

    Handlers of signals and of errors may write anywhere: with half a step taken, a phase half
    begun, a schedule not yet stepped. Lightning's own counters do not tell. So moments are named
    at which one may be written, and all others are not trusted.

    Args:
        trainer: Of the fit.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._settled: Hook | None = None
        self._step = -1  # when the last batch began
        self._is_going_on = False

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """A validation in the block was due at the checkpoint, whose counters are loaded still.

        What is saved in it would not go on. So savers of the newest checkpoint, which is the one
        that is gone on from, have nothing to save there.
        """
        for saver in self._trainer.checkpoint_callbacks:
            if isinstance(saver, ModelCheckpoint) and saver.monitor is None:
                saver._last_global_step_saved = self._trainer.global_step
        self._is_going_on = True
        try:
            yield
        finally:
            self._is_going_on = False

    def begin_batch(self) -> None:
        """A batch begins; at its end a step has to be taken, or gradients are kept for later."""
        self._settled, self._step = None, self._trainer.global_step

    def begin_validation(self) -> None:
        """A validation begins."""
        self._settled = None

    def settle(self, hook: Hook) -> None:
        """Everything is counted in this hook; callbacks that come later in it may save."""
        self._settled = hook

    def state_dict(self) -> dict[str, str]:
        """What was under way where this is called from; nothing, if all is well."""
        if self._is_going_on:
            return {_KEY: "before training had gone on"}
        hook = current_hook(self._trainer)
        if self._settled == "on_train_end":  # nothing begins any more
            return {_KEY: ""}
        if self._settled is None or hook != self._settled:
            return {_KEY: f"in `{hook}`" if hook else "between two hooks"}
        if self._trainer.global_step == self._step:
            return {_KEY: "while gradients of a step were accumulated"}
        return {_KEY: ""}


def check_moment(checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that was not written between two steps.

    Args:
        checkpoint: As Lightning loaded it.

    Raises:
        LtsftError: If a callback noted so.
    """
    for state in checkpoint.get("callbacks", {}).values():
        if isinstance(state, Mapping) and (moment := state.get(_KEY)):
            raise LtsftError(
                f"`ckpt_path` is expected to be written between two steps, but was {moment} (by a "
                "handler of signals, after an error, or by a callback that comes before "
                "SparseMaskCallback): what goes on from there would be another fit; take an "
                "earlier one, or begin anew."
            )
