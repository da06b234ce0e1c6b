"""Rules sort every parameter into exactly one part."""

import pytest
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import ScopeRules
from ltsft.sparse.scope import owned_by, tied_names


class RMSNorm(nn.Module):
    """A normalisation that is no LayerNorm and is named as it likes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(2, 2, bias=False).weight


class Model(nn.Module):
    def __init__(self, tied=True):
        super().__init__()
        self.embeddings = nn.Embedding(5, 2)
        self.encoder = nn.ModuleDict({"ffn": nn.Linear(2, 2), "ln": nn.LayerNorm(2)})
        self.strange = RMSNorm()
        self.head = nn.Linear(2, 5)
        self.head2 = nn.Linear(2, 1)
        if tied:
            self.head.weight = self.embeddings.weight


def test_every_parameter_has_one_part_and_tied_weights_count_once():
    model = Model()
    scope = ScopeRules(whole=["head2"], frozen=["type:*Norm"]).resolve(model)
    names = [name for name, _ in model.named_parameters()]
    assert sorted(scope.maskable + scope.whole + scope.frozen) == sorted(names)
    assert scope.frozen == ("encoder.ln.weight", "encoder.ln.bias", "strange.scale")
    assert scope.whole == ("head2.weight", "head2.bias")
    assert "head.weight" not in scope.maskable  # the same tensor as embeddings.weight
    assert scope.trained == scope.maskable + scope.whole


def test_a_prefix_ends_at_a_dot():
    assert ScopeRules(whole=["head"]).resolve(Model(tied=False)).whole == (
        "head.weight",
        "head.bias",
    )


def test_a_rule_may_use_either_name_of_a_tied_weight():
    scope = ScopeRules(frozen=["head.weight"]).resolve(Model())
    assert scope.frozen == ("embeddings.weight",)


def test_frozen_wins_over_whole_and_whole_over_maskable():
    rules = ScopeRules(maskable=["*"], whole=["encoder"], frozen=["encoder.ln"])
    scope = rules.resolve(Model())
    assert scope.whole == ("encoder.ffn.weight", "encoder.ffn.bias")
    assert scope.frozen == ("encoder.ln.weight", "encoder.ln.bias")


def test_with_a_list_of_maskable_the_rest_is_frozen():
    scope = ScopeRules(maskable=["encoder.ffn"]).resolve(Model())
    assert scope.maskable == ("encoder.ffn.weight", "encoder.ffn.bias")
    assert len(scope.frozen) == 8 - 1


def test_parameters_without_gradient_are_frozen():
    model = Model()
    model.head2.weight.requires_grad_(False)
    assert ScopeRules(whole=["head2"]).resolve(model).frozen == ("head2.weight",)


@pytest.mark.parametrize("part", ["maskable", "whole", "frozen"])
def test_a_rule_that_matches_nothing_is_refused(part):
    with pytest.raises(LtsftError, match=f"`scope.{part}`.*'clasifier' matches none of the 9"):
        ScopeRules(**{part: ["clasifier"]}).resolve(Model())


def test_nothing_need_be_maskable():
    """Whether that will do is for the selection to say."""
    scope = ScopeRules(whole=["head2"], frozen=["*"]).resolve(Model())
    assert scope.maskable == ()
    assert len(scope.frozen) == 8 + 1


def test_owners_and_ties():
    model = Model()
    assert owned_by(model, "*Norm") == {"encoder.ln.weight", "encoder.ln.bias", "strange.scale"}
    assert tied_names(model) == {"embeddings.weight": ["embeddings.weight", "head.weight"]}
    assert tied_names(Model(tied=False)) == {}
