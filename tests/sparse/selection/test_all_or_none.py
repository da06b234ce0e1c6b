"""The two selections that leave nothing to choose."""

from torch import nn

from ltsft.sparse import AllEntries, NoEntries, ScopeRules
from tests.sparse.selection.reference import candidates


def test_all_maskable_entries_or_none():
    module = nn.Linear(3, 2)
    rules = ScopeRules(whole=["bias"])
    every = AllEntries().select(candidates(module, rules=rules))
    none = NoEntries().select(candidates(module, rules=rules))
    assert (list(every), every.num_selected) == (["weight"], 6)
    assert (list(none), none.num_selected, none.num_maskable) == (["weight"], 0, 6)
    assert AllEntries().needs_entries
    assert not NoEntries().needs_entries
