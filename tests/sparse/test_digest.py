"""Digests tell weights apart, and nothing else."""

import hashlib

import pytest
import torch
import xxhash

from ltsft.sparse.digest import algorithm_of, rest_digest, tensor_digest


def test_layout_and_half_precision_make_no_difference():
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).half()
    expected = tensor_digest(tensor)
    assert len(expected) == len("xxh3:") + 32
    assert tensor_digest(tensor.float()) == expected
    assert tensor_digest(tensor.t().contiguous().t()) == expected


def test_shape_type_and_every_bit_make_one():
    tensor = torch.zeros(4)
    negative = tensor.clone()
    negative[2] = -0.0
    others = [tensor.view(2, 2), tensor.double(), negative]
    assert len({tensor_digest(t) for t in [tensor, *others]}) == 4


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_digests_hash_type_shape_and_bytes_in_their_order(monkeypatch, chunk, dtype):
    """By both algorithms, whatever the pieces; against a hash of all at once."""
    monkeypatch.setattr("ltsft.sparse.digest._CHUNK_ENTRIES", chunk)
    tensor = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    content = f"{wide} (2, 5)".encode() + tensor.to(wide).numpy().tobytes()
    sha, xxh3 = hashlib.sha256(content).hexdigest()[:32], xxhash.xxh3_128(content).hexdigest()
    assert tensor_digest(tensor) == f"xxh3:{xxh3}"
    assert tensor_digest(tensor, like="xxh3:…") == f"xxh3:{xxh3}"
    assert tensor_digest(tensor, like=sha) == sha
    assert [algorithm_of(d) for d in (sha, f"xxh3:{xxh3}", None)] == ["", "xxh3:", "xxh3:"]


@pytest.mark.parametrize("chunk", [1, 3, 4, 1 << 20])
def test_rest_is_all_but_the_entries(monkeypatch, chunk):
    """Of any pieces, against entries set to zero in a copy."""
    monkeypatch.setattr("ltsft.sparse.digest._CHUNK_ENTRIES", chunk)
    tensor = torch.randn(12, generator=torch.Generator().manual_seed(0))
    for at in ([], [0], [3, 4, 11], list(range(12))):
        rest = tensor.clone()
        rest[at] = 0
        for dtype in (torch.int32, torch.int64):
            digest = rest_digest(tensor, torch.tensor(at, dtype=dtype))
            assert digest == xxhash.xxh3_128(rest.numpy().tobytes()).hexdigest()
