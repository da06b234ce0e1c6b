"""Overlap against sets of positions."""

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning, overlap


def at(positions, num_maskable=100):
    entries = {
        name: SparseDelta((10,), torch.tensor(p).long(), torch.ones(len(p)))
        for name, p in positions.items()
    }
    return SparseFineTuning(entries, metadata=Metadata(num_maskable=num_maskable))


def test_unequal_sizes_and_tensors_that_only_one_has():
    a, b = at({"x": [1, 2, 3], "y": [0]}), at({"x": [2, 3, 4, 5, 6], "z": [1]})
    for result in (overlap(a, b), overlap(b, a)):
        assert (result.intersection, result.smaller) == (2, 4)
        assert result.ratio == 0.5
        assert result.chance == pytest.approx(6 / 100)


def test_an_empty_one_overlaps_with_nothing():
    assert overlap(at({}), at({"x": [1]})).ratio == 0.0


def test_chance_is_unknown_where_the_candidates_differ():
    assert overlap(at({"x": [1]}), at({"x": [1]}, num_maskable=7)).chance is None


def test_chance_is_what_random_selections_show():
    """Mean ratio of random pairs of 3 and 5 of 10, within 5 standard errors."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda k: at({"x": torch.randperm(10, generator=generator)[:k].sort()[0].tolist()}, 10)  # noqa: E731
    results = [overlap(draw(3), draw(5)) for _ in range(2000)]
    ratios = torch.tensor([result.ratio for result in results])
    error = ratios.std() / len(ratios) ** 0.5
    assert abs(ratios.mean() - results[0].chance) < 5 * error


def test_a_path_is_no_fine_tuning():
    with pytest.raises(LtsftError, match=r"got 'runs/en'; load it first"):
        overlap("runs/en", at({}))
