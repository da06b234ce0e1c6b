"""What the file of a fine-tuning says of itself, read without torch.

:mod:`ltsft.sparse.file_format` says what is in it.
"""

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import xxhash
from typing_extensions import Buffer

from ltsft.errors import LtsftError
from ltsft.sparse.metadata import Metadata

FORMAT_VERSION = 2

_LENGTH_BYTES = 8  # of the number that a safetensors file begins with: how long its header is

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
"""Types of safetensors, as torch calls them."""


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


@dataclass(frozen=True)
class Extent:
    """How large a tensor is, and how many of its entries are in the file.

    Args:
        shape: Of the tensor.
        num_params: Of its entries.
    """

    shape: tuple[int, ...]
    num_params: int

    def __len__(self) -> int:
        return self.num_params

    def numel(self) -> int:
        """Number of entries of the whole tensor."""
        return prod(self.shape)


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
        tensors: Key -> what safetensors says of it.
    """

    path: Path
    about: dict[str, Any]
    start: int
    tensors: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> "Header":
        """Read a file's header, and what of it can be checked without its tensors.

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
            with path.open("rb") as file:
                length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
                start = _LENGTH_BYTES + length
                if start > path.stat().st_size:
                    raise ValueError(f"its header would end at byte {start:,}")
                tensors = json.loads(file.read(length))
            header = tensors.pop("__metadata__", {})
            end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
            if start + end != path.stat().st_size:
                raise ValueError(f"its tensors would end at byte {start + end:,}")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise unreadable(path, error) from error
        if "ltsft" not in header:
            raise LtsftError(
                f"`{path}` is expected to hold a sparse fine-tuning, but says nothing of one; name "
                "the file or folder that `ltsft fit` wrote (`sft/`)."
            )
        about = _about(header["ltsft"], path)
        version = about.get("format_version")
        if version not in _HASHERS:
            raise LtsftError(
                f"`{path}` is expected to have format version "
                f"{' or '.join(map(str, _HASHERS))}, but has {version}; update ltsft."
            )
        return cls(path, about, start, tensors)

    def check_digest(self) -> None:
        """Look at all of the file.

        Raises:
            LtsftError: If it was altered.
        """
        try:
            tensors = {
                key: Plain(_DTYPES[tensor["dtype"]], tuple(tensor["shape"]), self._content(key))
                for key, tensor in self.tensors.items()
            }
            found = digest(self.about, tensors)
        except (LookupError, TypeError) as error:
            raise unreadable(self.path, error) from error
        if self.about.get("digest") != found:
            raise LtsftError(
                f"`{self.path}` is expected to match the digest it carries, but does not: it was "
                "altered; copy or download it again."
            )

    @property
    def metadata(self) -> Metadata:
        """What the fine-tuning says of itself."""
        return Metadata.from_json(json.dumps(self.about.get("sft")))

    @property
    def num_params(self) -> int:
        """Number of selected entries, K."""
        return sum(map(len, self.entries.values()))

    @property
    def entries(self) -> dict[str, Extent]:
        """Parameter name -> how many of its entries are selected."""
        packed = self.about.get("packed", {})
        entries = {}
        try:
            for name in self._of_kind("shape"):
                number = (
                    packed[name]["num_params"]
                    if name in packed
                    else self.tensors[f"indices/{name}"]["shape"][0]
                )
                entries[name] = Extent(tuple(self._content(f"shape/{name}").cast("q")), number)
        except (LookupError, TypeError, ValueError) as error:
            raise off_format(self.path, error) from error
        return entries

    @property
    def whole(self) -> dict[str, Extent]:
        """Parameter name -> size of what is kept whole."""
        shapes = {key: self.tensors[f"whole/{key}"]["shape"] for key in self._of_kind("whole")}
        return {key: Extent(tuple(shape), prod(shape)) for key, shape in shapes.items()}

    def _of_kind(self, kind: str) -> list[str]:
        keys = (key.partition("/") for key in self.tensors)
        return [name for found, _, name in keys if found == kind]

    def _content(self, key: str) -> memoryview:
        """A tensor's bytes, which are read from the disk as they are used."""
        with self.path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        first, last = self.tensors[key]["data_offsets"]
        return content[self.start + first : self.start + last]


def unreadable(path: Path, error: Exception) -> LtsftError:
    """That a file is no safetensors file."""
    return LtsftError(
        f"`{path}` is expected to be a safetensors file, but cannot be read ({error}); it may be "
        "cut: copy or download it again."
    )


def off_format(path: Path, error: Exception) -> LtsftError:
    """That the tensors in a file do not go together."""
    return LtsftError(f"`{path}` is expected to follow the format, but: {error}")


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
