"""The entries that changed most: LT-SFT."""

import pytest
import torch
from torch import nn

from ltsft.sparse import LargestChange
from tests.sparse.selection.reference import candidates


def test_largest_change_ranks_over_all_tensors_and_ignores_the_sign():
    module = nn.Linear(2, 2)
    change = {
        "weight": torch.tensor([[0.5, -3.0], [0.1, 2.0]]),
        "bias": torch.tensor([-2.5, 0.0]),
    }
    mask = LargestChange().select(candidates(module, change), 3)
    assert mask["weight"].tolist() == [[False, True], [False, True]]
    assert mask["bias"].tolist() == [True, False]


def test_largest_change_reports_the_edge_of_the_choice():
    module = nn.Linear(1, 4, bias=False)
    nn.init.zeros_(module.weight)
    chosen = candidates(module, {"weight": torch.tensor([[4.0], [3.0], [2.0], [1.0]])})
    mask = LargestChange().select(chosen, 2)
    said = LargestChange().describe(chosen, mask)
    assert "selected 3.000e+00" in said
    assert "left out 2.000e+00" in said


def test_half_and_single_precision_are_ranked_on_one_scale():
    module = nn.ParameterDict(
        {"a": nn.Parameter(torch.zeros(2)), "b": nn.Parameter(torch.zeros(2))}
    )
    module["b"].data = module["b"].data.bfloat16()
    change = {"a": torch.tensor([1.0, 4.0]), "b": torch.tensor([3.0, 2.0])}
    mask = LargestChange().select(candidates(module, change), 2)
    assert mask["a"].tolist() == [False, True]
    assert mask["b"].tolist() == [True, False]


def test_nan_is_refused_by_the_name_of_the_tensor():
    module = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="`bias` are expected to be finite"):
        LargestChange().select(candidates(module, {"bias": torch.tensor([1.0, torch.nan])}), 1)
