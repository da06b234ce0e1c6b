"""Hashes of tensors, to tell one base model's weights from another's."""

import hashlib

import torch
from torch import Tensor

_CHUNK_ENTRIES = 1 << 20  # bounds the copies that are hashed


def rest_digest(tensor: Tensor, indices: Tensor) -> str:
    """Hash the bits of all of a tensor's entries but some; 64 hexadecimal digits.

    Args:
        tensor: Of any shape and type.
        indices: Sorted flat positions of the entries that do not count, int64.

    Example:
        >>> one, other, at = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), torch.tensor([1])
        >>> rest_digest(one, at) == rest_digest(other, at)
        True
    """
    flat = tensor.detach().reshape(-1)
    hasher = hashlib.sha256()
    for start in range(0, len(flat), _CHUNK_ENTRIES):
        chunk = flat[start : start + _CHUNK_ENTRIES].clone()
        edges = torch.tensor([start, start + len(chunk)], device=indices.device)
        first, end = torch.searchsorted(indices, edges).tolist()
        chunk[(indices[first:end] - start).to(chunk.device)] = 0
        hasher.update(chunk.cpu().view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """Hash a tensor's shape and values; 32 hexadecimal digits.

    Half precision is widened to float32 first, which is exact, so that a checkpoint stored in
    float16 has one digest however it is loaded.

    Example:
        >>> tensor_digest(torch.ones(2)) == tensor_digest(torch.ones(2, dtype=torch.float16))
        True
    """
    tensor = tensor.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    hasher = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    hasher.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return hasher.hexdigest()[:32]
