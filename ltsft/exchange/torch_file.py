"""Files that ``torch.save`` wrote, which are hostile until checked."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

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
        with path.open("rb") as file:
            return read_torch(file, path.stat().st_size, safe_globals)
    except (OSError, ValueError) as error:
        raise LtsftError(
            f"`{path}` is expected to be a file of `torch.save` with tensors and plain values, but "
            f"cannot be read: {error}"
        ) from error


def read_torch(file: BinaryIO, num_bytes: int, safe_globals: Sequence[Any] = ()) -> Any:
    """The same of an open file, whose name the caller knows.

    Args:
        file: At its beginning.
        num_bytes: How long it is.
        safe_globals: See :func:`read_torch_file`.

    Raises:
        ValueError: If it is something else; the message is one line.
    """
    try:
        if zipfile.is_zipfile(file):
            _check_is_not_packed(file, num_bytes)
        file.seek(0)
        with torch.serialization.safe_globals(list(safe_globals)):
            return torch.load(file, map_location="cpu", weights_only=True)
    # What a damaged or hostile file raises depends on where it is wrong.
    except Exception as error:
        text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
        reason = text.strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{reason[0]:.160}") from error


def _check_is_not_packed(file: BinaryIO, num_bytes: int) -> None:
    """`torch.save` stores its parts as they are; a small file that unpacks to a large one is none.

    Parts may not lie over each other either.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    is_packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if is_packed or unpacked > num_bytes:
        raise ValueError(
            f"`torch.save` stores its parts unpacked, but {num_bytes:,} bytes of it unpack to "
            f"{unpacked:,}"
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


def to_float32(name: str, tensor: Tensor) -> Tensor:
    """Numbers with a point, in float32.

    Args:
        name: What it is called in messages.
        tensor: Finite numbers, as :func:`check_plain` returns them.

    Raises:
        LtsftError: If it is of whole numbers, or one is too large.
    """
    converted = tensor.float()
    if not tensor.is_floating_point() or not converted.isfinite().all():
        raise LtsftError(
            f"`{name}` is expected to hold finite numbers of 32 bits, but is of {tensor.dtype}"
            + (", some of them larger." if tensor.is_floating_point() else ".")
        )
    return converted


_DTYPES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8,
}  # fmt: skip
