"""A mask: which entries of which tensors may move."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ltsft.sparse.bits import count, pack, unpack

_CHUNK_ENTRIES = 1 << 20  # bounds what looking for positions takes; a multiple of 8


@dataclass(frozen=True)
class Cut:
    """Where the scores of what was selected end.

    Args:
        least: The lowest score that was selected.
        greatest_left_out: The highest that was not; ``None`` if nothing was left out.
        num_ties: How many that were selected have the lowest score.
    """

    least: float
    greatest_left_out: float | None
    num_ties: int


class Mask(Mapping[str, Tensor]):
    """One boolean tensor per maskable parameter, True where the entry **may move**.

    It takes one bit an entry, in tensors that are unpacked anew each time they are asked for.

    Args:
        tensors: Parameter name -> boolean tensor of the parameter's shape.

    Attributes:
        cut: Where the scores of the selected entries end, if it was selected by scores.

    Raises:
        TypeError: If a tensor is not boolean.

    Example:
        >>> mask = Mask({"weight": torch.tensor([[True, False], [False, False]])})
        >>> mask.num_selected, mask.num_maskable, mask.density
        (1, 4, 0.25)
        >>> (~mask).num_selected, (mask | ~mask).num_selected
        (3, 4)
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if tensor.dtype != torch.bool:
                raise TypeError(
                    f"`mask[{name!r}]` is expected to be a boolean tensor, but got {tensor.dtype}."
                )
        self._bits = {name: pack(tensor) for name, tensor in tensors.items()}
        self._shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self.cut: Cut | None = None

    @classmethod
    def from_bits(
        cls,
        bits: Mapping[str, Tensor],
        shapes: Mapping[str, torch.Size],
        cut: Cut | None = None,
    ) -> "Mask":
        """A mask of what :func:`ltsft.sparse.bits.pack` makes of each tensor.

        Args:
            bits: Per tensor the packed truth values.
            shapes: Shape of every maskable tensor.
            cut: See :attr:`cut`.
        """
        mask = cls({})
        mask._bits, mask._shapes, mask.cut = dict(bits), dict(shapes), cut
        return mask

    @classmethod
    def from_indices(
        cls, indices: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]
    ) -> "Mask":
        """The inverse of :meth:`indices`.

        Args:
            indices: Per tensor the flat positions of the selected entries.
            shapes: Shape of every maskable tensor.
        """
        bits = {}
        for name, shape in shapes.items():
            flat = torch.zeros(shape.numel(), dtype=torch.bool)
            flat[indices[name].cpu()] = True
            bits[name] = pack(flat)
        return cls.from_bits(bits, shapes)

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        return unpack(self._bits[name], shape.numel()).view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def shape_of(self, name: str) -> torch.Size:
        """Shape of one tensor, which is not unpacked for it."""
        return self._shapes[name]

    def __invert__(self) -> "Mask":
        """True where this one is False."""
        bits = {name: pack(~self[name]) for name in self}
        return Mask.from_bits(bits, self._shapes)

    def __or__(self, other: "Mask") -> "Mask":
        """True where either is; both over the same tensors."""
        bits = {name: b | other._bits[name].to(b.device) for name, b in self._bits.items()}
        return Mask.from_bits(bits, self._shapes)

    def __repr__(self) -> str:
        return (
            f"Mask({self.num_selected:,} of {self.num_maskable:,} entries in {len(self)} tensors, "
            f"{self.density:.2%})"
        )

    @cached_property
    def num_selected(self) -> int:
        """Number of entries that may move."""
        return sum(count(bits) for bits in self._bits.values())

    @property
    def num_maskable(self) -> int:
        """Number of entries in all."""
        return sum(shape.numel() for shape in self._shapes.values())

    @property
    def density(self) -> float:
        """Share of the maskable entries that may move."""
        return self.num_selected / max(self.num_maskable, 1)

    def indices(self) -> dict[str, Tensor]:
        """Per tensor the sorted flat (row-major) positions of the selected entries, int64."""
        return {name: self.indices_of(name) for name in self}

    def indices_of(self, name: str) -> Tensor:
        """The sorted flat positions of one tensor's selected entries, int64, [K of it]."""
        bits, number = self._bits[name], self._shapes[name].numel()
        parts = [torch.zeros(0, dtype=torch.int64, device=bits.device)]
        for start in range(0, number, _CHUNK_ENTRIES):
            end = min(start + _CHUNK_ENTRIES, number)
            flags = unpack(bits[start // 8 : -(-end // 8)], end - start)
            parts.append(flags.nonzero().flatten() + start)
        return torch.cat(parts)

    def to(self, devices: Mapping[str, torch.device] | torch.device | str) -> "Mask":
        """The same mask on another device, or each tensor on one of its own."""
        bits = {
            name: b.to(devices[name] if isinstance(devices, Mapping) else devices)
            for name, b in self._bits.items()
        }
        return Mask.from_bits(bits, self._shapes, self.cut)

    def digest(self) -> str:
        """A hash of names, shapes and entries, to compare masks over ranks."""
        hasher = hashlib.sha256()
        for name in sorted(self):
            hasher.update(f"{name} {tuple(self._shapes[name])}".encode())
            hasher.update(self._bits[name].cpu().numpy().tobytes())
        return hasher.hexdigest()
