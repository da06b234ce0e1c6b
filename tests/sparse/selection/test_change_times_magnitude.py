"""Property: exactly K, by |θ¹ - θ⁰| · |θ¹|, judged by a full sort."""

import torch
from torch import nn

from ltsft.sparse import ChangeTimesMagnitude
from tests.sparse.selection.reference import candidates, chosen, first, module_of, random_change


def test_equals_a_full_sort_of_the_product():
    module = module_of({"a": (6, 5), "b": (7,), "c": (2, 3, 2)})
    given = candidates(module, random_change(module))
    scores = {
        name: ((p - given.initial[name]).abs() * p.abs()).detach()
        for name, p in module.named_parameters()
    }
    for num_params in range(50):
        mask = ChangeTimesMagnitude().select(given, num_params)
        assert mask.num_selected == num_params
        assert chosen(mask) == first(scores, num_params)


def test_of_equal_changes_the_one_away_from_zero_wins():
    module = nn.Linear(4, 1, bias=False)
    module.weight.data = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    given = candidates(module, {"weight": torch.tensor([[0.5, -0.5, 0.5, -0.5]])})
    assert chosen(ChangeTimesMagnitude().select(given, 2)) == [0, 3]


def test_what_did_not_move_comes_last_however_large():
    module = nn.Linear(3, 1, bias=False)
    module.weight.data = torch.tensor([[100.0, 0.0, 0.1]])
    given = candidates(module, {"weight": torch.tensor([[0.0, 1e-3, 1e-3]])})
    assert chosen(ChangeTimesMagnitude().select(given, 2)) == [1, 2]
