"""Reading the files of the `adapters` library, which are hostile until checked."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from safetensors.torch import load as load_safetensors
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.exchange.torch_file import check_plain, read_torch
from ltsft.sparse.guarded_json import read_json

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter.safetensors", "pytorch_adapter.bin")
"""Names of the file with the tensors; the former is taken where both are there."""

HEAD_CONFIG = "head_config.json"
HEAD_WEIGHTS = ("model_head.safetensors", "pytorch_model_head.bin")
"""The same of a head, where one was saved too."""

_MAX_RATIO, _MIN_BYTES = 20, 1 << 20
"""What a file in a zip may take: so many bytes for each of the zip's, and so many at least."""

_Files = dict[PurePosixPath, Callable[[], bytes]]


class Files(NamedTuple):
    """What lies in a folder.

    Args:
        about: The adapter's config.
        tensors: Its tensors by their names in the file.
        head: Config and tensors of the head, if there is one.
    """

    about: dict[str, Any]
    tensors: dict[str, Tensor]
    head: tuple[dict[str, Any], dict[str, Tensor]] | None


def read_files(source: Path) -> Files:
    """Read configs and tensors. Pickles can make tensors only, and zips are not unpacked.

    Args:
        source: Folder, zip, or the file with the tensors.

    Raises:
        LtsftError: If there is nothing to read, more than one adapter, or no safe way to read it.
    """
    files = _list(source)
    configs = [path for path in files if path.name == CONFIG and not _is_leftover(path)]
    if len(configs) != 1:
        raise LtsftError(
            f"`{source}` is expected to hold one `{CONFIG}`, but holds {len(configs)}; name the "
            "folder of an adapter."
        )
    folder = configs[0].parent
    named = [source.name] if source.is_file() and source.suffix != ".zip" else WEIGHTS
    weights = next((folder / name for name in named if folder / name in files), None)
    if weights is None:
        raise LtsftError(
            f"`{source}` is expected to hold {' or '.join(WEIGHTS)} beside `{CONFIG}`, but holds "
            "neither."
        )
    head = None
    of_head = next((folder / name for name in HEAD_WEIGHTS if folder / name in files), None)
    if of_head is not None and folder / HEAD_CONFIG in files:
        head = (
            _config(files[folder / HEAD_CONFIG](), source, HEAD_CONFIG),
            _tensors(files[of_head](), of_head.name, source),
        )
    return Files(
        _config(files[configs[0]](), source), _tensors(files[weights](), weights.name, source), head
    )


def _list(source: Path) -> _Files:
    if source.is_dir():
        paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
        return {_inside(path, source): path.read_bytes for path in paths}
    if not source.is_file():
        raise LtsftError(
            f"`{source}` is expected to be a folder or file of an adapter, but there is none."
        )
    if source.suffix != ".zip":
        beside = [source, *(source.parent / name for name in (CONFIG, HEAD_CONFIG, *HEAD_WEIGHTS))]
        return {_inside(p, source.parent): p.read_bytes for p in beside if p.is_file()}
    try:
        archive = zipfile.ZipFile(source)
    # Of a damaged one, depending on where: an odd version is a NotImplementedError.
    except Exception as error:
        reason = f"{error!s:.160}"
        raise LtsftError(f"`{source}` is expected to be a zip, but is not: {reason}.") from error
    files: _Files = {}
    for member in archive.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise LtsftError(
                f"`{source}` is expected to hold files inside of it, but names "
                f"{member.filename!r:.80}."
            )
        if member.file_size > _MAX_RATIO * source.stat().st_size + _MIN_BYTES:
            raise LtsftError(
                f"`{source}` is expected to be an adapter, but `{member.filename:.80}` in its "
                f"{source.stat().st_size:,} bytes takes {member.file_size:,}; unzip it, and name "
                "the folder."
            )
        files[path] = _member(archive, member, source)
    return files


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return archive.read(member)
        # A cut or altered archive fails in many ways, an encrypted one with RuntimeError.
        except Exception as error:
            raise LtsftError(
                f"`{member.filename:.80}` in `{source}` is expected to be readable, but: "
                f"{error!s:.160}; download it again."
            ) from error

    return read


def _inside(path: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(folder).as_posix())


def _is_leftover(path: PurePosixPath) -> bool:
    """Whether macOS left it: binary files whose names begin with ``._``."""
    return any(part.startswith("._") or part == "__MACOSX" for part in path.parts)


def _config(data: bytes, source: Path, name: str = CONFIG) -> dict[str, Any]:
    try:
        about = read_json(data)
    except ValueError as error:  # no JSON, or no text
        raise LtsftError(f"`{name}` in `{source}` is expected to be JSON, but: {error}.") from error
    if not isinstance(about, dict):
        raise LtsftError(f"`{name}` in `{source}` is expected to be an object, but is not.")
    return about


def _tensors(data: bytes, name: str, source: Path) -> dict[str, Tensor]:
    try:
        if name.endswith(".safetensors"):
            tensors = load_safetensors(data)
        else:
            tensors = read_torch(io.BytesIO(data), len(data))
    # What a damaged or hostile file raises depends on where it is wrong.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise LtsftError(
            f"`{name}` in `{source}` is expected to hold tensors and nothing else, but cannot be "
            f"read: {reason[0]:.160}"
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in tensors.items()
    ):
        raise LtsftError(
            f"`{name}` in `{source}` is expected to hold tensors by name, but holds something else."
        )
    tensors = {key: check_plain(f"{key:.80}", tensor) for key, tensor in tensors.items()}
    if (num_bytes := sum(tensor.nbytes for tensor in tensors.values())) > len(data):
        raise LtsftError(
            f"`{name}` in `{source}` is expected to hold each number once, but its {len(data):,} "
            f"bytes would become {num_bytes:,}."
        )
    return tensors
