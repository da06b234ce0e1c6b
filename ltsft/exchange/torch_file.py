"""Files that ``torch.save`` wrote, which are hostile until checked."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ltsft.errors import LtsftError


def read_torch_file(path: Path, safe_globals: Sequence[Any] = ()) -> Any:
    """Read what ``torch.save`` wrote; no code in it runs, and it takes no more memory than it is.

    Args:
        path: Of the file.
        safe_globals: What may be made beside tensors and plain values, as
            ``torch.serialization.safe_globals`` takes it.

    Raises:
        LtsftError: If it is no such file, holds anything else, or unpacks to more than it is.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_is_not_packed(path)
        with torch.serialization.safe_globals(list(safe_globals)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except LtsftError:
        raise
    # What a damaged or hostile file raises depends on where it is wrong.
    except Exception as error:
        text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
        reason = text.strip().splitlines() or [type(error).__name__]
        raise LtsftError(
            f"`{path}` is expected to be a file of `torch.save` with tensors and plain values, but "
            f"cannot be read: {reason[0]:.120}"
        ) from error


def _check_is_not_packed(path: Path) -> None:
    """`torch.save` stores its parts as they are; a small file that unpacks to a large one is none.

    Parts may not lie over each other either.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    is_packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if is_packed or unpacked > path.stat().st_size:
        raise LtsftError(
            f"`{path}` is expected to be a file of `torch.save`, which stores its parts unpacked, "
            f"but {path.stat().st_size:,} bytes of it unpack to {unpacked:,}."
        )


def check_plain(name: str, value: object) -> Tensor:
    """A tensor that is what it seems: ordinary finite numbers, each with memory of its own.

    Args:
        name: What it is called in messages.
        value: From a file.

    Raises:
        LtsftError: If it is something else; a view over one number, say, that claims to be 10¹².
    """
    if (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_contiguous()
        and value.dtype in _DTYPES
    ):
        tensor = value.detach().as_subclass(Tensor)
        if not tensor.is_floating_point() or not len(tensor.view(-1)):
            return tensor
        if all(torch.isfinite(extreme) for extreme in torch.aminmax(tensor)):  # a NaN is both
            return tensor
    raise LtsftError(f"`{name}` is expected to be a tensor of finite numbers, but is not.")


_DTYPES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool,
}  # fmt: skip
