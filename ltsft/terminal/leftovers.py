"""Checkpoints of a fit: what to go on from while there is no result, and needless after."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from ltsft.callbacks import Interrupted, SparseMaskCallback, TimedCheckpoint
from ltsft.callbacks.newest import folder_of, remove_newest
from ltsft.errors import LtsftError
from ltsft.terminal.going_on import newest_checkpoint


def usual_savers(config: Mapping[str, Any], users: Sequence[Any]) -> list[Callback]:
    """What saves a fit beside its user's own: by the clock, as a pass may take days.

    And at the end of each pass, as Lightning does, where a user names nothing.

    Args:
        config: Options of the Trainer.
        users: The callbacks among them.
    """
    saves = config["enable_checkpointing"] is not False and not config["fast_dev_run"]
    if not saves:
        return []
    kinds = [type(callback) for callback in users if isinstance(callback, Checkpoint)]
    passes = [] if any(kind is not TimedCheckpoint for kind in kinds) else [ModelCheckpoint()]
    return [*passes, *([] if TimedCheckpoint in kinds else [TimedCheckpoint()])]


class Leftovers(Callback):
    """Says how to go on from a fit that was interrupted, and clears up after one that was not.

    A checkpoint has the whole model and its optimizer, hundreds of times the size of what was
    trained. Removed are those that are there to go on from: the newest only, by no metric.

    Args:
        keep: Keep them.
    """

    def __init__(self, keep: bool) -> None:
        self.keep = keep

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, KeyboardInterrupt | SystemExit) and trainer.is_global_zero:
            print(f"\n{self._how_to_go_on(trainer, exception)}", flush=True)
        elif _is_of_another_process(exception, trainer):
            print(
                f"\nAnother process of this fit has ended; what it wrote says why. "
                f"{self._how_to_go_on(trainer, exception)}",
                flush=True,
            )

    @override
    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callback = _sparse_mask(trainer)
        if self.keep or callback is None or callback.sft is None:
            return
        for saver in trainer.checkpoint_callbacks:
            if isinstance(saver, ModelCheckpoint) and saver.save_top_k == 1 and not saver.monitor:
                paths = {Path(path) for path in (saver.best_model_path, saver.last_model_path)}
                resumed = Path(str(trainer.ckpt_path))  # of an earlier part of this fit
                if resumed.absolute().parent == Path(str(saver.dirpath)).absolute():
                    paths.add(resumed)
                _remove(paths)
        remove_newest(folder_of(trainer))
        _remove_if_empty(folder_of(trainer))

    def _how_to_go_on(self, trainer: Trainer, exception: BaseException) -> str:
        callback = _sparse_mask(trainer)
        position = callback.position(trainer) if callback and callback.ticket else "beginning"
        savers = [s for s in trainer.checkpoint_callbacks if isinstance(s, ModelCheckpoint)]
        folders = [folder_of(trainer), *(Path(s.dirpath) for s in savers if s.dirpath)]
        try:
            if isinstance(exception, Interrupted):
                path = exception.path
            else:
                path = newest_checkpoint(list(dict.fromkeys(folders)))
        except LtsftError:
            return (
                f"Interrupted in the phase {position}, and no checkpoint was written yet: the same "
                "command begins anew. A TimedCheckpoint with few `minutes` writes some."
            )
        return (
            f"Interrupted in the phase {position}. To go on from the newest checkpoint, call the "
            f"same command with `--ckpt_path {path}`."
        )


def _is_of_another_process(exception: BaseException, trainer: Trainer) -> bool:
    """Whether a process could not go on because another one is gone."""
    said = str(exception)
    is_lost = isinstance(exception, torch.distributed.DistBackendError) or (
        isinstance(exception, RuntimeError) and ("by peer" in said or "gloo" in said)
    )
    return trainer.world_size > 1 and is_lost


def _sparse_mask(trainer: Trainer) -> SparseMaskCallback | None:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next((c for c in callbacks if isinstance(c, SparseMaskCallback)), None)


def _remove(paths: Any) -> None:
    folders = set()
    for path in paths:
        if path.is_file():
            path.unlink()
            folders.add(path.parent)
    for folder in folders:
        _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # something else is in it, or it is not there
        folder.rmdir()
