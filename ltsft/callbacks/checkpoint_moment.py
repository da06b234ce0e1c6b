"""When a checkpoint was written, told by the counters of Lightning's loops in it."""

from collections.abc import Mapping
from typing import Any

from ltsft.errors import LtsftError


def check_moment(checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that was written in the middle of a batch.

    Handlers of signals and of errors may write anywhere: with half a step taken, or a language's
    fine-tuning in place, which no counter would undo. Between batches nothing is under way.

    Args:
        checkpoint: As Lightning loaded it.

    Raises:
        LtsftError: If a batch of training or validation had begun and not ended.
    """
    loops = checkpoint.get("loops", {}).get("fit_loop", {})
    training = loops.get("epoch_loop.batch_progress", {}).get("total", {})
    validation = loops.get("epoch_loop.val_loop.batch_progress", {})
    now = validation.get("current", {})
    if training.get("processed") != training.get("ready"):
        moment = "in the middle of a step"
    elif (now.get("ready") and not validation.get("is_last_batch")) or now.get(
        "processed"
    ) != now.get("ready"):
        moment = "in the middle of a validation"
    else:
        return
    raise LtsftError(
        f"`ckpt_path` is expected to be written between two steps, but was {moment} (by a handler "
        "of signals, or after an error): what goes on from there would be another fit; take an "
        "earlier one, or begin anew."
    )
