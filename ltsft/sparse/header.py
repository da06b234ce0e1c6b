"""What the file of a fine-tuning says of itself, read without torch.

:mod:`ltsft.sparse.file_format` says what is in it.
"""

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import xxhash
from typing_extensions import Buffer

from ltsft.errors import LtsftError
from ltsft.sparse.guarded_json import read_json
from ltsft.sparse.layout import Extent, Layout
from ltsft.sparse.metadata import Metadata

FORMAT_VERSION = 2

_LENGTH_BYTES = 8  # of the number that a safetensors file begins with: how long its header is

_DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "I16": ("int16", 2),
    "I32": ("int32", 4),
    "I64": ("int64", 8),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
}
"""Types of safetensors that a file may have: as torch calls them, and bytes of a number."""

_MAX_DIMENSIONS = 64  # torch's


class Plain(NamedTuple):
    """A tensor as it is in a file.

    Args:
        dtype: As torch calls it.
        shape: Of the tensor.
        content: Its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    content: Buffer


class Place(NamedTuple):
    """Where in a file a tensor is.

    Args:
        dtype: As torch calls it.
        shape: Of the tensor.
        start: Of its bytes, counted from the first tensor.
        stop: Likewise.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class _Hasher(Protocol):
    def update(self, content: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


_HASHERS: dict[Any, Callable[[], _Hasher]] = {1: hashlib.sha256, 2: xxhash.xxh3_128}
"""What a file of each version is hashed by."""


def digest(about: Mapping[str, Any], tensors: Mapping[str, Plain]) -> str:
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
        dtype, shape, content = tensors[key]
        hasher.update(f"\n{key}\n{dtype}\n{','.join(map(str, shape))}\n".encode())
        hasher.update(content)
    return hasher.hexdigest()


@dataclass(frozen=True)
class Header:
    """What stands before the tensors.

    Args:
        path: Of the file.
        about: The description of the fine-tuning.
        start: Where in the file the tensors begin, in bytes.
        tensors: Key -> where it is.
    """

    path: Path
    about: dict[str, Any]
    start: int
    tensors: dict[str, Place]

    @classmethod
    def read(cls, path: Path) -> "Header":
        """Read a file's header, and check all that can be checked without its tensors.

        Raises:
            LtsftError: If the file is missing, cut, of another format or a newer version.
        """
        if path.is_dir():
            raise LtsftError(
                f"`path` is expected to be a file, but {path} is a folder; write "
                f"`SparseFineTuning.from_pretrained({str(path)!r})`."
            )
        if not path.is_file():
            raise LtsftError(
                f"`{path}` is expected to be the file or folder of a sparse fine-tuning, but there "
                "is no such file."
            )
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
                start = _LENGTH_BYTES + length
                if start > size:
                    raise ValueError(f"its header would end at byte {start:,}")
                listed = read_json(file.read(length))
            if not isinstance(listed, dict):
                raise ValueError("its header is no object")
            texts = listed.pop("__metadata__", {})
            tensors = {key: _place(key, about) for key, about in listed.items()}
            _check_places(tensors, size - start)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        if not isinstance(texts, dict) or "ltsft" not in texts:
            raise LtsftError(
                f"`{path}` is expected to hold a sparse fine-tuning, but says nothing of one; name "
                "the file or folder that `ltsft fit` wrote (`sft/`)."
            )
        about = _about(texts["ltsft"], path)
        version = about.get("format_version")
        if type(version) is not int or version not in _HASHERS:
            raise LtsftError(
                f"`{path}` is expected to have format version "
                f"{' or '.join(map(str, _HASHERS))}, but has {version!r:.40}; update ltsft."
            )
        header = cls(path, about, start, tensors)
        try:
            _ = header.layout, header.metadata
        except ValueError as error:
            raise off_format(path, error) from error
        return header

    def check_digest(self) -> None:
        """Look at all of the file.

        Raises:
            LtsftError: If it was altered.
        """
        tensors = {
            key: Plain(place.dtype, place.shape, self._content(key))
            for key, place in self.tensors.items()
        }
        if self.about.get("digest") != digest(self.about, tensors):
            raise LtsftError(
                f"`{self.path}` is expected to match the digest it carries, but does not: it was "
                "altered; copy or download it again."
            )

    @cached_property
    def metadata(self) -> Metadata:
        """What the fine-tuning says of itself."""
        return Metadata.from_values(self.about.get("sft"))

    @cached_property
    def layout(self) -> Layout:
        """What its tensors are."""

        def shape_of(key: str) -> tuple[int, ...]:
            return tuple(self._content(key).cast("q"))

        packed = {} if self.about["format_version"] == 1 else self.about.get("packed", {})
        return Layout.of(self.tensors, packed, shape_of)

    @property
    def num_params(self) -> int:
        """Number of selected entries, K."""
        return sum(map(len, self.entries.values()))

    @property
    def entries(self) -> dict[str, Extent]:
        """Parameter name -> how many of its entries are selected."""
        return self.layout.entries

    @property
    def whole(self) -> dict[str, Extent]:
        """Parameter name -> size of what is kept whole."""
        return self.layout.whole

    def _content(self, key: str) -> memoryview:
        """A tensor's bytes, which are read from the disk as they are used."""
        place = self.tensors[key]
        return self._file[self.start + place.start : self.start + place.stop]

    @cached_property
    def _file(self) -> memoryview:
        with self.path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _place(key: str, about: Any) -> Place:
    """What safetensors says of a tensor."""
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"it says of `{key:.80}` {about!r:.80}")
    shape, offsets = about["shape"], about["data_offsets"]
    if not (_are_sizes(shape, _MAX_DIMENSIONS) and _are_sizes(offsets, 2) and len(offsets) == 2):
        raise ValueError(f"it says of `{key:.80}` {about!r:.80}")
    if (name := about["dtype"]) not in tuple(_DTYPES):
        raise ValueError(f"`{key:.80}` is of type {name!r:.40}, and not {', '.join(_DTYPES)}")
    dtype, num_bytes = _DTYPES[name]
    place = Place(dtype, tuple(shape), *offsets)
    if place.stop - place.start != prod(shape) * num_bytes:
        raise ValueError(f"`{key:.80}` takes {place.stop - place.start:,} bytes: {about!r:.80}")
    return place


def _are_sizes(values: Any, most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(value) is int and value >= 0 for value in values)
    )


def _check_places(tensors: Mapping[str, Place], size: int) -> None:
    """Refuse tensors that leave a gap, or lie over each other."""
    at = 0
    for key, place in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if place.start != at:
            raise ValueError(f"`{key:.80}` begins at byte {place.start:,} instead of {at:,}")
        at = place.stop
    if at != size:
        raise ValueError(f"its tensors would end at byte {at:,} of {size:,}")


def unreadable(path: Path, error: Exception) -> LtsftError:
    """That a file is no safetensors file."""
    return LtsftError(
        f"`{path}` is expected to be a safetensors file, but cannot be read ({error}); it may be "
        "cut: copy or download it again."
    )


def off_format(path: Path, error: Exception) -> LtsftError:
    """That the tensors in a file do not go together."""
    return LtsftError(f"`{path}` is expected to follow the format, but: {error}")


def _about(text: Any, path: Path) -> dict[str, Any]:
    """Parse the JSON object in the file's metadata."""
    reason = "it is something else"
    try:
        about = read_json(text) if isinstance(text, str) else None
    except ValueError as error:
        about, reason = None, str(error)
    if not isinstance(about, dict):
        raise LtsftError(
            f"`{path}` is expected to describe itself by a JSON object, but got {text!r:.40}: "
            f"{reason}."
        )
    return about
