"""Bits, whatever they stand for."""

import pytest
import torch

from ltsft.sparse.same import raw, same_bits, same_numbers

NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "bits", "numbers"),
    [
        ([1.0, NAN], [1.0, NAN], True, True),
        ([0.0], [-0.0], False, True),
        ([1.0, NAN], [1.0, 1.0], False, False),
        ([NAN], [1.0], False, False),
        ([], [], True, True),
    ],
)
def test_numbers_and_their_bits(one, other, bits, numbers):
    one, other = torch.tensor(one), torch.tensor(other)
    assert (same_bits(one, other), same_numbers(one, other)) == (bits, numbers)


def test_type_and_shape_count():
    zeros = torch.zeros(2, 3)
    assert not same_bits(zeros, zeros.int())
    assert not same_bits(zeros, zeros.t())
    assert same_bits(zeros, torch.zeros(3, 2).t())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3, dtype=torch.int32),
        torch.arange(6.0).view(2, 3).t(),
        torch.zeros(()).expand(1),
        torch.empty(0, dtype=torch.float64).expand(0),
        torch.tensor([True, False]),
        torch.arange(6.0)[2:4],
    ],
)
def test_bytes_are_those_of_numpy(tensor):
    assert bytes(raw(tensor).tolist()) == tensor.numpy().tobytes()
