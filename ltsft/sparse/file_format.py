"""The file of a sparse fine-tuning: one safetensors file.

Tensors, for each parameter ``NAME``:

* ``indices/NAME``: flat row-major positions of the selected entries, strictly increasing, [K].
  int32, or int64 if the parameter has 2³¹ entries or more.
* ``values/NAME``: the differences at those positions, floating point, [K]. Every selected position
  is there, also where the difference is 0.
* ``shape/NAME``: the parameter's shape, int64.
* ``whole/NAME``: a tensor kept whole (heads, adapters); its value, not a difference.

In a packed file ``packed_indices/NAME`` and ``packed_values/NAME`` stand in place of the first two,
uint8, as :mod:`ltsft.sparse.packing` makes them.

Metadata: one string under the key ``ltsft``, a JSON object with ``format_version`` (the number 2),
``digest`` (that :func:`_digest` defines), ``sft`` (the object of
:class:`~ltsft.sparse.metadata.Metadata`) and, of a packed file, ``packed`` (parameter -> type of
its values). One key, because safetensors writes several in random order, and the same value is to
give the same bytes. Version 1 knew no packed files, and its digests are SHA-256.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ltsft.atomic import whole_file
from ltsft.errors import LtsftError
from ltsft.sparse.delta import Parts, SparseDelta
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.packing import pack_positions, pack_values, unpack

FILE_NAME = "sft.safetensors"
FORMAT_VERSION = 2


def save(sft: Parts, path: Path, packed: bool = False) -> None:
    """Write `sft` to `path`.

    Args:
        sft: What to write.
        path: Of the file.
        packed: In about half of the bytes, which takes longer to write and to read.

    Raises:
        LtsftError: If it is a folder, or cannot be written.
    """
    if path.is_dir():
        raise LtsftError(
            f"`path` is expected to be a file, but {path} is a folder; write "
            f"`sft.save_pretrained({str(path)!r})`."
        )
    tensors: dict[str, Tensor] = {}
    for name, delta in sft.entries.items():
        if packed:
            tensors[f"packed_indices/{name}"] = pack_positions(delta.indices)
            tensors[f"packed_values/{name}"] = pack_values(delta.values)
        else:
            tensors[f"indices/{name}"] = delta.indices.contiguous()
            tensors[f"values/{name}"] = delta.values.contiguous()
        tensors[f"shape/{name}"] = torch.tensor(delta.shape, dtype=torch.int64)
    # Clones: heads may share memory, which safetensors refuses.
    tensors |= {f"whole/{name}": t.detach().cpu().clone() for name, t in sft.whole.items()}
    about: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "sft": json.loads(sft.metadata.to_json()),
    }
    if packed:
        types = {name: delta.values.dtype for name, delta in sorted(sft.entries.items())}
        about["packed"] = {name: str(t).removeprefix("torch.") for name, t in types.items()}
    about["digest"] = _digest(about, tensors)
    header = {"ltsft": json.dumps(about, ensure_ascii=False)}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, header)


def load(
    path: Path, verify: bool = True
) -> tuple[dict[str, SparseDelta], dict[str, Tensor], Metadata]:
    """Read and check a file; a file from anywhere is hostile until checked.

    Args:
        path: Of the file.
        verify: Look at all of it. Otherwise entries that are not packed are taken as they are,
            and are read from the disk as they are used.

    Returns:
        Selected entries and whole tensors by parameter name, and the metadata.

    Raises:
        LtsftError: If the file is missing, cut, altered, of another format or a newer version.
    """
    if path.is_dir():
        raise LtsftError(
            f"`path` is expected to be a file, but {path} is a folder; write "
            f"`SparseFineTuning.from_pretrained({str(path)!r})`."
        )
    if not path.is_file():
        raise LtsftError(
            f"`{path}` is expected to be the file or folder of a sparse fine-tuning, but there is "
            "no such file."
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise LtsftError(
            f"`{path}` is expected to be a safetensors file, but cannot be read ({error}); it may "
            "be cut: copy or download it again."
        ) from error
    if "ltsft" not in header:
        raise LtsftError(
            f"`{path}` is expected to hold a sparse fine-tuning, but says nothing of one; name the "
            "file or folder that `ltsft fit` wrote (`sft/`)."
        )
    about = _about(header["ltsft"], path)
    version = about.get("format_version")
    if version not in _HASHERS:
        raise LtsftError(
            f"`{path}` is expected to have format version {' or '.join(map(str, _HASHERS))}, but "
            f"has {version}; update ltsft."
        )
    if verify and about.get("digest") != _digest(about, tensors):
        raise LtsftError(
            f"`{path}` is expected to match the digest it carries, but does not: it was altered; "
            "copy or download it again."
        )
    delta = SparseDelta if verify else SparseDelta.unchecked
    entries, whole = {}, {}
    try:
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "whole":
                whole[name] = tensor
            elif kind == "shape":
                shape = tuple(tensor.tolist())
                if f"indices/{name}" in tensors:
                    entries[name] = delta(
                        shape, tensors[f"indices/{name}"], tensors[f"values/{name}"]
                    )
                else:
                    entries[name] = unpack(
                        shape,
                        tensors[f"packed_indices/{name}"],
                        tensors[f"packed_values/{name}"],
                        _TYPES[about["packed"][name]],
                    )
        return entries, whole, Metadata.from_json(json.dumps(about.get("sft")))
    except (KeyError, TypeError, LtsftError) as error:
        raise LtsftError(f"`{path}` is expected to follow the format, but: {error}") from error


def _about(text: str, path: Path) -> dict[str, Any]:
    """Parse the JSON object in the file's metadata."""
    try:
        about = json.loads(text)
    except json.JSONDecodeError:
        about = None
    if not isinstance(about, dict):
        raise LtsftError(
            f"`{path}` is expected to describe itself by a JSON object, but got {text[:40]!r}."
        )
    return about


def as_path(path: str | Path) -> Path:
    """A path as it was given, its ``~`` replaced by the user's home.

    Raises:
        LtsftError: If it is something else.
    """
    if not isinstance(path, str | Path):
        raise LtsftError(
            "a fine-tuning is expected to be named by a path (or `user/repo` on the hub), but got "
            f"{path!r}; write `'runs/en'`, and save first what is in memory only."
        )
    return Path(path).expanduser()


def locate(name: str | Path) -> Path:
    """Find the file that a folder, a file or ``user/repo[@revision]`` means, downloading it.

    Raises:
        LtsftError: If there is no such thing.
    """
    path = as_path(name)
    if path.is_dir():
        for candidate in (path / FILE_NAME, path / "sft" / FILE_NAME):
            if candidate.is_file():
                return candidate
        raise LtsftError(f"the folder `{path}` is expected to hold `{FILE_NAME}`, but does not.")
    repository, _, revision = str(name).partition("@")
    if path.exists() or repository.count("/") != 1 or repository.startswith((".", "~", "/")):
        return path
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(repository, FILE_NAME, revision=revision or None))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise LtsftError(
            f"`{name}` is expected to be a folder, a file or a repository `user/repo[@revision]` "
            f"with `{FILE_NAME}`, but is no file here and the hub says: {reason}"
        ) from error


class _Hasher(Protocol):
    def update(self, content: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


_HASHERS: dict[Any, Callable[[], _Hasher]] = {1: hashlib.sha256, 2: xxhash.xxh3_128}
"""What a file of each version is hashed by."""

_TYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
}


def _digest(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of the description, then per key in sorted order: key, type, shape, bytes.

    The description is the JSON of the metadata's object without the digest; in version 1 of what is
    under ``sft`` alone.
    """
    version = about["format_version"]
    described = {key: value for key, value in about.items() if key != "digest"}
    hasher = _HASHERS[version]()
    text = json.dumps(about.get("sft") if version == 1 else described, ensure_ascii=False)
    hasher.update(text.encode())
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = ",".join(map(str, tensor.shape))
        hasher.update(f"\n{key}\n{dtype}\n{shape}\n".encode())
        hasher.update(tensor.flatten().view(torch.uint8).numpy().data)
    return hasher.hexdigest()
