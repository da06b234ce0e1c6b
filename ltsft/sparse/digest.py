"""Hashes of tensors, to tell one base model's weights from another's.

XXH3 is as fast as memory, and tells weights apart that differ by accident; it is no proof against
somebody who makes up a collision. Up to version 0.1 digests were SHA-256, cut to 32 digits: files
that have such ones are compared by these.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import xxhash
from torch import Tensor

from ltsft.sparse.same import raw

if TYPE_CHECKING:
    from ltsft.sparse.delta import SparseDelta

_CHUNK_ENTRIES = 1 << 20  # bounds the copies that are hashed
_XXH3 = "xxh3:"  # begins a digest; one by SHA-256 has no word before it


def rest_digest(tensor: Tensor, indices: Tensor) -> str:
    """Hash the bits of all of a tensor's entries but some; 32 hexadecimal digits.

    Args:
        tensor: Of any shape and type.
        indices: Sorted flat positions of the entries that do not count.

    Example:
        >>> one, other, at = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), torch.tensor([1])
        >>> rest_digest(one, at) == rest_digest(other, at)
        True
    """
    flat = tensor.detach().reshape(-1)
    hasher = xxhash.xxh3_128()
    end = max(len(flat), 1) + _CHUNK_ENTRIES  # a rank may hold nothing of a tensor
    edges = torch.arange(0, end, _CHUNK_ENTRIES, device=indices.device)
    cuts = torch.searchsorted(indices, edges.clamp(max=len(flat)).to(indices.dtype)).tolist()
    for number, chunk in enumerate(flat.split(_CHUNK_ENTRIES)):
        chunk = chunk.clone()
        inside = indices[cuts[number] : cuts[number + 1]] - number * _CHUNK_ENTRIES
        chunk[inside.to(chunk.device)] = 0
        hasher.update(_bytes(chunk))
    return hasher.hexdigest()


def tensor_digest(tensor: Tensor, like: str | None = None) -> str:
    """Hash a tensor's shape and values.

    Half precision is widened to float32 first, which is exact, so that a checkpoint stored in
    float16 has one digest however it is loaded.

    Args:
        tensor: Of any shape and type.
        like: A digest that it is to be compared with, of this version or an earlier one; ``None``:
            of this version.

    Returns:
        A word for the algorithm, and 32 hexadecimal digits.

    Example:
        >>> tensor_digest(torch.ones(2)) == tensor_digest(torch.ones(2, dtype=torch.float16))
        True
    """
    dtype = tensor.dtype
    is_half = dtype in (torch.float16, torch.bfloat16)
    if is_half:
        dtype = torch.float32
    algorithm = algorithm_of(like)
    hasher = xxhash.xxh3_128() if algorithm else hashlib.sha256()
    hasher.update(f"{dtype} {tuple(tensor.shape)}".encode())
    for chunk in tensor.detach().reshape(-1).split(_CHUNK_ENTRIES):
        hasher.update(_bytes(chunk.to(dtype)))
    return algorithm + hasher.hexdigest()[:32]


def entries_digest(entries: Mapping[str, "SparseDelta"]) -> str:
    """Hash selected entries and their differences; 32 hexadecimal digits.

    Args:
        entries: Parameter name -> selected entries.
    """
    hasher = xxhash.xxh3_128()
    for name in sorted(entries):
        delta = entries[name]
        hasher.update(f"{name} {tuple(delta.shape)} {delta.values.dtype}\n".encode())
        for tensor in (delta.indices, delta.values):
            hasher.update(_bytes(tensor))
    return hasher.hexdigest()


def algorithm_of(digest: str | None) -> str:
    """The word that a digest begins with; ``None``: that of this version's.

    Only digests of one algorithm can be compared.

    Example:
        >>> algorithm_of(tensor_digest(torch.ones(2)))
        'xxh3:'
    """
    return _XXH3 if digest is None or digest.startswith(_XXH3) else ""


def _bytes(tensor: Tensor) -> memoryview:
    return raw(tensor.cpu()).numpy().data
