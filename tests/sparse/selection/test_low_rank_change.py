"""Property: ranked by the leading singular directions of each 2-D difference, judged by numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import LargestChange, LowRankChange
from ltsft.sparse.selection.low_rank_change import leading_directions
from tests.sparse.selection.reference import candidates, chosen, first, module_of, random_change


def truncated(matrix, explained=None, rank=None):
    """The nearest matrix of a rank by the eigenvectors of AᵀA, one direction after the other."""
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    order = np.argsort(values)[::-1]
    total, result, share = values.sum(), np.zeros_like(matrix), 0.0
    for index, direction in enumerate(order, start=1):
        v = vectors[:, direction : direction + 1]
        result += matrix @ v @ v.T
        share += values[direction] / total
        if (rank is not None and index == rank) or (rank is None and share >= explained):
            break
    return result


@pytest.mark.parametrize("rule", [{"explained": 0.5}, {"explained": 0.9}, {"rank": 1}, {"rank": 3}])
@pytest.mark.parametrize("shape", [(8, 5), (5, 8)])
def test_leading_directions_are_the_eigenvectors(rule, shape):
    """Float64; two different algorithms, hence 1e-12 of the largest entry."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    settings = {"explained": 0.9} | rule
    got = leading_directions(matrix, **settings)
    expected = torch.from_numpy(truncated(matrix.numpy(), **rule))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_rank(got) < min(shape)


def test_everything_explained_or_a_rank_beyond_the_matrix_changes_nothing():
    matrix = torch.randn(4, 3, dtype=torch.float64)
    for rule in ({"explained": 1.0}, {"explained": 0.1, "rank": 9}):
        torch.testing.assert_close(leading_directions(matrix, **rule), matrix)


@pytest.mark.parametrize("rest_density", [0.0, 0.2])
def test_exactly_k_by_a_full_sort_of_the_denoised_differences(rest_density):
    """Float64, so that both algorithms order entries alike; 1-D tensors as they are."""
    module = module_of({"a": (9, 6), "b": (7,), "c": (5, 8)}, dtype=torch.float64)
    change = random_change(module)
    given = candidates(module, change)
    scores = {}
    for name, p in module.named_parameters():
        difference = (p - given.initial[name]).detach()
        if difference.dim() == 2:
            low = torch.from_numpy(truncated(difference.numpy(), rank=2))
            rest = difference - low
            num_kept = round(rest_density * rest.numel())
            kept = torch.zeros(rest.numel(), dtype=torch.float64)
            positions = rest.abs().flatten().argsort(descending=True)[:num_kept]
            kept[positions] = rest.flatten()[positions]
            difference = low + kept.view_as(low)
        scores[name] = difference.abs()
    for num_params in (0, 1, 20, 60, 101):
        mask = LowRankChange(rank=2, rest_density=rest_density).select(given, num_params)
        assert mask.num_selected == num_params
        assert chosen(mask) == first(scores, num_params)


@pytest.mark.parametrize("rest_density", [0.0, 0.2])
def test_each_matrix_is_decomposed_once(monkeypatch, rest_density):
    """So decompositions that differ in the last bits each time still choose exactly K."""
    decompose, calls = torch.linalg.svd, []

    def jittering(matrix, **settings):
        calls.append(matrix.shape)
        left, values, right = decompose(matrix, **settings)
        return left, values * (1 + len(calls) * 1e-6), right

    monkeypatch.setattr(torch.linalg, "svd", jittering)
    module = module_of({"a": (30, 20), "b": (7,), "c": (25, 40)})
    given = candidates(module, random_change(module))
    mask = LowRankChange(rank=2, rest_density=rest_density).select(given, 500)
    assert mask.num_selected == 500
    assert calls == [(30, 20), (25, 40)]


def test_noise_on_single_entries_is_not_chosen():
    """A rank-1 change under noise: the largest single entry is noise, and is passed over."""
    module = nn.Linear(20, 20, bias=False)
    nn.init.zeros_(module.weight)
    change = torch.zeros(20, 20)
    change[:5, :5] = 1.0
    change[19, 19] = 1.5
    given = candidates(module, {"weight": change})
    assert 399 in chosen(LargestChange().select(given, 25))
    assert chosen(LowRankChange(rank=1).select(given, 25)) == [
        20 * row + column for row in range(5) for column in range(5)
    ]


def test_a_difference_of_nothing_and_an_empty_tensor_are_ranked_too():
    module = module_of({"a": (3, 3), "b": (0, 4)})
    assert chosen(LowRankChange().select(candidates(module), 2)) == [0, 1]


def test_nan_is_refused_by_the_name_of_the_tensor():
    module = module_of({"a": (3, 3), "b": (2, 2)})
    given = candidates(module, {"b": torch.full((2, 2), torch.nan)})
    with pytest.raises(LtsftError, match="`b` are expected to be finite"):
        LowRankChange().select(given, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"explained": 0.0}, "`explained` .* above 0 and at most 1 .* but got 0.0"),
        ({"explained": 1.1}, "`explained` .* but got 1.1"),
        ({"rank": 0}, "`rank` of `LowRankChange` is expected to be 1 or more, but got 0"),
        ({"rest_density": 2.0}, "`rest_density` .* from 0 to 1 .* but got 2.0"),
    ],
)
def test_mistakes_are_refused(settings, message):
    with pytest.raises(LtsftError, match=message):
        LowRankChange(**settings)


def test_its_name_says_how():
    assert str(LowRankChange()) == "LowRankChange(explained=0.9)"
    assert str(LowRankChange(rank=8, rest_density=0.05)) == (
        "LowRankChange(rank=8, rest_density=0.05)"
    )
