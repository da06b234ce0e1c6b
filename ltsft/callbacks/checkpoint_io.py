"""How checkpoints are written: whole, or not at all."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from typing_extensions import override

from ltsft.atomic import whole_file
from ltsft.errors import LtsftError


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, syncs it, and renames it; reads plain values only.

    Lightning writes into the system's temporary folder and moves the file: where that is another
    disk, or the disk is full, or the process is killed, half a checkpoint has the name of a whole
    one. What an earlier process left half written is cleared.

    Addresses of other file systems (``s3://…``) are written as Lightning does.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        for left in target.parent.glob(".*.ckpt.*"):
            left.unlink(missing_ok=True)
        try:
            with whole_file(target) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            room = shutil.disk_usage(target.parent).free / 2**20
            raise LtsftError(
                f"{target.parent} is expected to have room for a checkpoint, but {target.name} "
                f"could not be written: {reason}; {room:,.0f} MiB are free. Make room, and go on "
                "from an earlier one (`--ckpt_path last`)."
            ) from error

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        weights_only = True if weights_only is None else weights_only
        checkpoint: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
        return checkpoint

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        if "://" in str(path):
            super().remove_checkpoint(path)
        elif os.path.lexists(path):
            Path(path).unlink()
