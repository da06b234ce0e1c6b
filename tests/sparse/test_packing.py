"""Packed entries come back bit for bit, in few bytes, and nothing else is read as such."""

import random

import numpy as np
import pytest
import torch
import zstandard

from ltsft.errors import LtsftError
from ltsft.sparse import SparseDelta, SparseFineTuning
from ltsft.sparse.packing import pack, pack_positions, pack_values, unpack


def packed(delta):
    both = pack(delta)
    assert both is not None
    return both


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
        again = unpack((size,), len(delta), *packed(delta), dtype=dtype)
        assert again == delta
        assert torch.equal(again.values.view(torch.uint8), values.view(torch.uint8))


def test_positions_beyond_four_bytes():
    delta = SparseDelta((2**33,), torch.tensor([5, 2**32 + 7]), torch.ones(2))
    assert unpack((2**33,), 2, *packed(delta), dtype=torch.float32) == delta


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
            (compress([1] * 5), None, "at most 4 bytes, but say 5"),
            (None, compress([1] * 9), "at most 8 bytes, but say 9"),
            (None, compress([1] * 4), "be 8 bytes, but are 4"),
            (
                compress([255, 255, 90, 1]),
                None,
                "be 2 within the 600 entries .*, but are 2 up to 601",
            ),
            (compress([0, 0]), None, "strictly increasing"),
            (compress([1, 1, 1]), None, "but are 3 up to 3"),
            (compress([1]), None, "be 2, but are 1"),
            (compress([1, 255]), None, "be 2, but are 1"),
            (pack_positions(DELTA.indices)[:-1], None, "be 3 bytes, but are fewer"),
            (None, pack_values(DELTA.values)[:-1], "be 8 bytes, but are fewer"),
        ],
    )
    def test_other_bytes(self, positions, values, message):
        right = packed(self.DELTA)
        positions = right[0] if positions is None else positions
        values = right[1] if values is None else values
        with pytest.raises(LtsftError, match=message):
            unpack((600,), 2, positions, values, torch.float32)

    def test_a_size_that_is_no_size(self):
        """A small file that is large unpacked takes no memory of that size."""
        claim = zstandard.compress(bytes(5_000_000))
        bomb = torch.tensor(list(claim), dtype=torch.uint8)
        with pytest.raises(LtsftError, match="at most 4 bytes, but say 5,000,000"):
            unpack((600,), 2, bomb, bomb, torch.float32)

    def test_many_entries_in_few_bytes(self):
        """A tensor of 2³³ entries, of which all are said to be selected."""
        few = compress([1] * 10_000)
        with pytest.raises(LtsftError, match=r"at most \d+,\d+ unpacked, but would take 68,719"):
            unpack((2**33,), 2**33, few, few, torch.float32)

    def test_steps_without_end(self):
        """However large a tensor is said to be."""
        steps = compress(bytes([255]) * 80_000_000)
        with pytest.raises(LtsftError, match=r"at most 67,\d+,\d+ bytes, but say 80,000,000"):
            unpack((2**62,), 1, steps, compress([0] * 4), torch.float32)


def test_entries_that_are_all_alike_are_not_packed():
    """A reader would refuse them; the file has them as they are."""
    alike = SparseDelta((100_000,), torch.arange(100_000), torch.zeros(100_000))
    assert pack(alike) is None
    assert pack(SparseDelta((2_000,), torch.arange(2_000), torch.zeros(2_000))) is not None
    far = SparseDelta((2**36,), torch.tensor([2**35]), torch.ones(1))
    assert pack(SparseDelta((2**33,), torch.tensor([2**32]), torch.ones(1))) is not None
    assert pack(far) is None


@pytest.mark.parametrize("numbers", [torch.zeros(100_000), torch.randn(100_000)])
def test_they_come_back_from_a_file(tmp_path, numbers):
    entries = {
        "alike": SparseDelta((100_000,), torch.arange(100_000), numbers),
        "other": SparseDelta((9,), torch.tensor([3]), torch.ones(1)),
    }
    SparseFineTuning(entries).save(tmp_path / "x", packed=True)
    assert SparseFineTuning.load(tmp_path / "x") == SparseFineTuning(entries)
