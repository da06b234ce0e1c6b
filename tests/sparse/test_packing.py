"""Packed entries come back bit for bit, in few bytes, and nothing else is read as such."""

import random

import numpy as np
import pytest
import torch
import zstandard

from ltsft.errors import LtsftError
from ltsft.sparse import SparseDelta
from ltsft.sparse.packing import pack_positions, pack_values, unpack


def packed(delta):
    return pack_positions(delta.indices), pack_values(delta.values)


def compress(content):
    return torch.tensor(list(zstandard.compress(bytes(content))), dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_random_entries_come_back(dtype):
    """Of all densities, gaps around 255 and its multiples among them; every value's bits."""
    draw = random.Random(0)
    for _ in range(50):
        gaps = draw.choice([[1, 2], [1, 254, 255, 256, 257, 509, 510, 511], [1, 100_000]])
        places = np.cumsum([draw.choice(gaps) for _ in range(draw.randrange(1, 40))])
        places -= draw.choice([0, places[0]])
        size = int(places[-1]) + draw.randrange(1, 600)
        values = torch.randn(len(places)).to(dtype)
        values[draw.randrange(len(places))] = -0.0
        delta = SparseDelta((size,), torch.from_numpy(places), values)
        again = unpack((size,), *packed(delta), dtype=dtype)
        assert again == delta
        assert torch.equal(again.values.view(torch.uint8), values.view(torch.uint8))


def test_positions_beyond_four_bytes():
    delta = SparseDelta((2**33,), torch.tensor([5, 2**32 + 7]), torch.ones(2))
    assert unpack((2**33,), *packed(delta), dtype=torch.float32) == delta


def test_what_training_leaves_takes_half_of_the_bytes():
    """Differences of weights at one entry in 23, as at mBERT's size: 8 bytes an entry plainly."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1_000_000, generator=generator) * 0.03
    indices = torch.randint(1_000_000, (43_000,), generator=generator).unique()
    change = torch.randn(len(indices), generator=generator) * 2e-4
    delta = SparseDelta((1_000_000,), indices, (start[indices] + change) - start[indices])
    assert sum(map(len, packed(delta))) < 4 * len(delta)


class TestRefusals:
    DELTA = SparseDelta((600,), torch.tensor([3, 400]), torch.ones(2))

    @pytest.mark.parametrize(
        ("positions", "values", "message"),
        [
            (torch.zeros(9, dtype=torch.uint8), None, "read by zstd"),
            (None, torch.zeros(9, dtype=torch.uint8), "read by zstd"),
            (compress([1] * 603), None, "at most 602 bytes, but say 603"),
            (None, compress([1] * 9), "at most 8 bytes, but say 9"),
            (None, compress([1] * 4), "2 of torch.float32, but are 4 bytes"),
            (compress([255, 255, 91, 1]), None, "within the 600 entries"),
            (compress([0, 0]), None, "strictly increasing"),
            (pack_positions(DELTA.indices)[:-1], None, "be 3 bytes, but are 2"),
        ],
    )
    def test_other_bytes(self, positions, values, message):
        right = packed(self.DELTA)
        positions = right[0] if positions is None else positions
        values = right[1] if values is None else values
        with pytest.raises(LtsftError, match=message):
            unpack((600,), positions, values, torch.float32)

    def test_a_size_that_is_no_size(self):
        """A small file that claims to be large takes no memory of that size."""
        claim = zstandard.compress(bytes(5_000_000))
        bomb = torch.tensor(list(claim), dtype=torch.uint8)
        with pytest.raises(LtsftError, match="at most 602 bytes, but say 5,000,000"):
            unpack((600,), bomb, bomb, torch.float32)
