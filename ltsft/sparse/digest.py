"""Hashes of tensors, to tell one base model's weights from another's."""

import hashlib

import torch
from torch import Tensor


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
