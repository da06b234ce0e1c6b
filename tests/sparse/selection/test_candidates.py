"""The entries that a criterion chooses from."""

import torch
from torch import nn

from ltsft.sparse import Candidates, Mask, Scope, ScopeRules
from tests.sparse.selection.reference import candidates, module_of, random_change


def test_differences_are_taken_in_one_type():
    """float32, or float64 if any parameter has it, so that all have one scale."""
    module = module_of({"a": (2, 3), "b": (4,)})
    change = random_change(module)
    for name, difference in candidates(module, change).differences():
        assert difference.dtype == torch.float32
        torch.testing.assert_close(difference, change[name])
    one, two = torch.ones(2), torch.ones(2, dtype=torch.float64)
    mixed = nn.ParameterDict({"a": nn.Parameter(one), "b": nn.Parameter(two)})
    assert {c.dtype for _, c in candidates(mixed).changes()} == {torch.float64}


def test_sizes_count_what_may_be_chosen():
    module = module_of({"a": (2, 3), "b": (4,)})
    every_second, none = torch.tensor([[True, False, True]] * 2), torch.zeros(4, dtype=torch.bool)
    within = Mask({"a": every_second, "b": none})
    scope = ScopeRules().resolve(module)
    narrowed = Candidates(module, scope, {}, within)
    assert candidates(module).sizes() == {"a": 6, "b": 4}
    assert narrowed.sizes() == {"a": 4, "b": 0}
    assert narrowed.num_maskable() == 10
    assert [name for name, _ in narrowed.only(["b"]).parameters()] == ["b"]


def test_the_largest_are_chosen_within():
    module = module_of({"a": (4,)})
    within = Mask({"a": torch.tensor([False, True, True, True])})
    scope = Scope(("a",), (), ())
    scores = {"a": torch.tensor([9.0, 1.0, 3.0, 3.0])}
    mask = Candidates(module, scope, {}, within).largest(scores, 1)
    assert mask["a"].tolist() == [False, False, True, False]  # of equal ones the earlier


def test_what_trains_includes_whole_parameters():
    module = nn.Linear(2, 1)
    chosen_from = candidates(module, rules=ScopeRules(whole=["bias"]))
    assert [name for name, _ in chosen_from.parameters()] == ["weight"]
    assert [name for name, _ in chosen_from.trained()] == ["weight", "bias"]
