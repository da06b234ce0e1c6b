"""Digests tell weights apart, and nothing else."""

import torch

from ltsft.sparse.digest import tensor_digest


def test_layout_and_half_precision_make_no_difference():
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).half()
    expected = tensor_digest(tensor)
    assert len(expected) == 32
    assert tensor_digest(tensor.float()) == expected
    assert tensor_digest(tensor.t().contiguous().t()) == expected


def test_shape_type_and_every_bit_make_one():
    tensor = torch.zeros(4)
    negative = tensor.clone()
    negative[2] = -0.0
    others = [tensor.view(2, 2), tensor.double(), negative]
    assert len({tensor_digest(t) for t in [tensor, *others]}) == 4
