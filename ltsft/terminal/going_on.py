"""Which checkpoint a fit goes on from."""

import os
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from ltsft.callbacks.checkpoint_moment import check_moment
from ltsft.errors import LtsftError
from ltsft.tasks.checkpoints import read_checkpoint
from ltsft.terminal.loggers import RUNS


def checkpoint_folders(options: Namespace) -> list[Path]:
    """Where a fit writes checkpoints.

    Args:
        options: Those of the Trainer, as parsed.
    """
    root = options.get("default_root_dir")
    runs = sorted(Path(RUNS).glob("version_*")) or [Path(RUNS, "version_0")]
    usual = [Path(folder, "checkpoints") for folder in ([root] if root else runs)]
    callbacks = options.get("callbacks") or []
    users = callbacks if isinstance(callbacks, list) else [callbacks]
    named = [callback.get("init_args", {}).get("dirpath") for callback in users]
    return [*usual, *(Path(folder) for folder in named if folder)]


def newest_checkpoint(folders: Sequence[Path]) -> str:
    """The newest checkpoint that a fit can go on from; others are passed over with a line.

    Args:
        folders: Where to look.

    Raises:
        LtsftError: If there is none.
    """
    found = _checkpoints(folders)
    for path in found:
        try:
            checkpoint = read_checkpoint(path)
            check_moment(checkpoint)
            if "optimizer_states" not in checkpoint:
                raise LtsftError("it has weights alone.")
        except (LtsftError, OSError) as error:
            _say(f"warning: {path} is passed over: {error}")
        else:
            return str(path)
    raise LtsftError(
        "`ckpt_path` is expected to be a checkpoint, but there is none "
        f"{'that can be gone on from ' if found else ''}in {', '.join(map(str, folders))}; leave "
        "it out to begin anew, or name a file."
    )


def to_go_on_from(path: str | None, options: Namespace) -> str | None:
    """The checkpoint that a fit goes on from, a requeued job's without being told.

    Args:
        path: As it was given: a file, ``last``, or ``None``.
        options: Those of the Trainer, as parsed.

    Raises:
        LtsftError: If ``last`` is none.
    """
    folders = checkpoint_folders(options)
    if path == "last":
        return newest_checkpoint(folders)
    if path is None and "SLURM_JOB_ID" in os.environ:
        return _of_job(folders, has_folder=bool(options.get("default_root_dir")))
    return path


def _of_job(folders: Sequence[Path], *, has_folder: bool) -> str | None:
    """The newest checkpoint of an earlier part of a job of SLURM, if it can be told."""
    if not has_folder:
        _say(
            "warning: if this job is requeued it begins anew; name a folder of its own "
            "(`trainer.default_root_dir`), in which it finds its checkpoints."
        )
        return None
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not _checkpoints(folders):
        return None
    try:
        path = newest_checkpoint(folders)
    except LtsftError:
        _say("The job was requeued, and begins anew.")
        return None
    _say(f"The job was requeued: going on from {path}.")
    return path


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)


def _checkpoints(folders: Sequence[Path]) -> list[Path]:
    """All there are, the newest first."""
    paths = [path for folder in folders for path in folder.glob("*.ckpt")]
    return sorted(paths, key=_time_written, reverse=True)


def _time_written(path: Path) -> int:
    return path.lstat().st_mtime_ns  # a link may lead nowhere
