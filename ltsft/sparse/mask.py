"""A mask: which entries of which tensors may move."""

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class Mask(Mapping[str, Tensor]):
    """One boolean tensor per maskable parameter, True where the entry **may move**.

    Args:
        tensors: Parameter name -> boolean tensor of the parameter's shape.

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
        self._tensors = dict(tensors)

    @classmethod
    def from_indices(
        cls, indices: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]
    ) -> "Mask":
        """The inverse of :meth:`indices`.

        Args:
            indices: Per tensor the flat positions of the selected entries.
            shapes: Shape of every maskable tensor.
        """
        masks = {}
        for name, shape in shapes.items():
            flat = torch.zeros(shape.numel(), dtype=torch.bool)
            flat[indices[name].cpu()] = True
            masks[name] = flat.view(shape)
        return cls(masks)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __invert__(self) -> "Mask":
        """True where this one is False."""
        return Mask({name: ~tensor for name, tensor in self._tensors.items()})

    def __or__(self, other: "Mask") -> "Mask":
        """True where either is; both over the same tensors."""
        return Mask({name: t | other[name].to(t.device) for name, t in self._tensors.items()})

    def __repr__(self) -> str:
        return (
            f"Mask({self.num_selected:,} of {self.num_maskable:,} entries in {len(self)} tensors, "
            f"{self.density:.2%})"
        )

    @property
    def num_selected(self) -> int:
        """Number of entries that may move."""
        return sum(int(tensor.sum()) for tensor in self._tensors.values())

    @property
    def num_maskable(self) -> int:
        """Number of entries in all."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    @property
    def density(self) -> float:
        """Share of the maskable entries that may move."""
        return self.num_selected / max(self.num_maskable, 1)

    def indices(self) -> dict[str, Tensor]:
        """Per tensor the sorted flat (row-major) positions of the selected entries, int64."""
        return {name: t.flatten().nonzero().flatten() for name, t in self._tensors.items()}

    def to(self, device: torch.device | str) -> "Mask":
        """The same mask on another device."""
        return Mask({name: tensor.to(device) for name, tensor in self._tensors.items()})

    def digest(self) -> str:
        """A hash of names, shapes and entries, to compare masks over ranks."""
        hasher = hashlib.sha256()
        for name in sorted(self._tensors):
            tensor = self._tensors[name]
            hasher.update(f"{name} {tuple(tensor.shape)}".encode())
            hasher.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return hasher.hexdigest()
