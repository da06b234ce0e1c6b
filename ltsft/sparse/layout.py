"""Which tensors a file of a fine-tuning has, as :mod:`ltsft.sparse.file_format` describes them.

What is written is checked by the same rules as what is read. Nothing here needs torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

from ltsft.errors import printable

_POSITIONS = ("int32", "int64")
_VALUES = ("float64", "float32", "float16", "bfloat16")
_WHOLE = (*_VALUES, "int64", "int32", "int16", "int8", "uint8", "bool")
"""Types of what is kept whole: those that torch can compare, copy and convert everywhere."""

_PLAIN = {"shape", "indices", "values"}
_PACKED = {"shape", "packed_indices", "packed_values"}

_MAX_NAME = 1000  # characters
_MAX_DIMENSIONS = 64  # torch's
_MAX_SIZE = 2**63


class Listed(Protocol):
    """What is known of a tensor without looking at it."""

    @property
    def dtype(self) -> str:
        """As torch calls it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""


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


@dataclass(frozen=True)
class Layout:
    """What the tensors of a file are.

    Args:
        entries: Parameter name -> how many of its entries are selected.
        packed: Name of those that are packed -> type of their values.
        whole: Name -> size of what is kept whole.
    """

    entries: dict[str, Extent]
    packed: dict[str, str]
    whole: dict[str, Extent]

    @classmethod
    def of(
        cls,
        tensors: Mapping[str, Listed],
        packed: Any,
        shape_of: Callable[[str], tuple[int, ...]],
    ) -> "Layout":
        """Sort tensors by the parameters they are of.

        Args:
            tensors: By their keys, e.g. ``indices/NAME``.
            packed: What the metadata has under ``packed``, or an empty mapping.
            shape_of: What a vector of int64 with this key holds.

        Raises:
            ValueError: If there is anything else than the format has; the message is one line.
        """
        kinds: dict[str, set[str]] = {}
        for key in tensors:
            kind, _, name = key.partition("/")
            if printable(name) != name or len(key) > _MAX_NAME:
                raise ValueError(f"it has a name that cannot be printed in a line: {key!r:.80}")
            kinds.setdefault(name, set()).add(kind)
        if not isinstance(packed, dict):
            raise ValueError(f"`packed` in its metadata is {packed!r:.40} and no object")
        layout = cls({}, {}, {})
        for name, found in kinds.items():
            if found == {"whole"}:
                layout.whole[name] = _whole(name, tensors)
            elif found == _PLAIN:
                layout.entries[name] = _plain(name, tensors, shape_of)
            elif found == _PACKED:
                layout.packed[name], layout.entries[name] = _packed(
                    name, tensors, shape_of, packed.get(name)
                )
            else:
                keys = ", ".join(f"{kind}/{name}" for kind in sorted(found))
                raise ValueError(f"it has {keys:.200}, which do not belong together")
        if more := sorted(packed.keys() - layout.packed):
            raise ValueError(f"its metadata call `{more[0]:.80}` packed, which is not")
        return layout


def _whole(name: str, tensors: Mapping[str, Listed]) -> Extent:
    tensor = tensors[f"whole/{name}"]
    if tensor.dtype not in _WHOLE:
        raise ValueError(f"`whole/{name}` is of {tensor.dtype}, and not {', '.join(_WHOLE)}")
    return Extent(tensor.shape, prod(tensor.shape))


def _plain(
    name: str, tensors: Mapping[str, Listed], shape_of: Callable[[str], tuple[int, ...]]
) -> Extent:
    extent = Extent(
        _shape(name, tensors, shape_of), _length(f"indices/{name}", tensors, _POSITIONS)
    )
    if _length(f"values/{name}", tensors, _VALUES) != len(extent):
        raise ValueError(f"`{name}` has another number of positions than of values")
    return _within(name, extent)


def _packed(
    name: str,
    tensors: Mapping[str, Listed],
    shape_of: Callable[[str], tuple[int, ...]],
    about: Any,
) -> tuple[str, Extent]:
    for key in (f"packed_indices/{name}", f"packed_values/{name}"):
        _length(key, tensors, ("uint8",))
    if not isinstance(about, dict) or about.keys() != {"num_params", "dtype"}:
        raise ValueError(f"`packed` in its metadata says of `{name}` {about!r:.60}")
    if type(about["num_params"]) is not int or about["dtype"] not in _VALUES:
        raise ValueError(f"`packed` in its metadata says of `{name}` {about!r:.60}")
    extent = Extent(_shape(name, tensors, shape_of), about["num_params"])
    return about["dtype"], _within(name, extent)


def _shape(
    name: str, tensors: Mapping[str, Listed], shape_of: Callable[[str], tuple[int, ...]]
) -> tuple[int, ...]:
    key = f"shape/{name}"
    if _length(key, tensors, ("int64",)) > _MAX_DIMENSIONS:
        raise ValueError(f"`{key}` has more than {_MAX_DIMENSIONS} dimensions")
    shape = shape_of(key)
    if any(length < 0 for length in shape) or prod(shape) >= _MAX_SIZE:
        raise ValueError(f"`{key}` holds {shape!r:.80}, which is no shape")
    return shape


def _length(key: str, tensors: Mapping[str, Listed], dtypes: tuple[str, ...]) -> int:
    """Length of a vector, and of nothing else."""
    tensor = tensors[key]
    if tensor.dtype not in dtypes or len(tensor.shape) != 1:
        raise ValueError(
            f"`{key}` is of {tensor.dtype} and shape {tensor.shape!r:.60}, and no vector of "
            f"{' or '.join(dtypes)}"
        )
    return tensor.shape[0]


def _within(name: str, extent: Extent) -> Extent:
    if not 0 <= extent.num_params <= extent.numel():
        raise ValueError(
            f"`{name}` has {extent.num_params:,} entries of the {extent.numel():,} in a tensor of "
            f"shape {extent.shape!r:.60}"
        )
    return extent
