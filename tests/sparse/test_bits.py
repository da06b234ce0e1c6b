"""Packed truth values come back."""

import pytest
import torch

from ltsft.sparse.bits import count, pack, unpack


@pytest.mark.parametrize("number", [*range(18), 1001])
def test_what_is_packed_comes_back(number):
    flags = torch.rand(number, generator=torch.Generator().manual_seed(number)) < 0.5
    packed = pack(flags)
    assert len(packed) == -(-number // 8)
    assert torch.equal(unpack(packed, number), flags)
    assert count(packed) == int(flags.sum())
    bits = [byte >> place & 1 for byte in packed.tolist() for place in range(8)]
    assert bits == flags.int().tolist() + [0] * (len(bits) - number)
