"""Each criterion chooses what its definition says."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from ltsft.errors import LtsftError
from ltsft.sparse import Biases, Candidates, LargestChange, Random, Scope, ScopeRules


def candidates(module, change=None):
    scope = ScopeRules().resolve(module)
    initial = {name: p.detach().clone() for name, p in module.named_parameters()}
    for name, delta in (change or {}).items():
        module.get_parameter(name).data += delta
    return Candidates(module, scope, initial)


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


def test_random_is_a_function_of_the_seed_and_not_of_the_global_generator():
    module = nn.Linear(30, 30)
    first = Random(seed=1).select(candidates(module), 100)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = Random(seed=1).select(candidates(module), 100)
    other = Random(seed=2).select(candidates(module), 100)
    assert first.num_selected == 100
    assert first.digest() == again.digest() != other.digest()
    assert torch.equal(torch.get_rng_state(), state)


def test_random_is_uniform():
    """Over many seeds each of 10 entries is chosen about 3 times in 10 (5 standard deviations)."""
    module = nn.ParameterDict(
        {"a": nn.Parameter(torch.zeros(4)), "b": nn.Parameter(torch.zeros(6))}
    )
    chosen, draws = torch.zeros(10), 2000
    for seed in range(draws):
        mask = Random(seed).select(candidates(module), 3)
        chosen += torch.cat([mask["a"], mask["b"]]).float()
    deviation = (draws * 0.3 * 0.7) ** 0.5
    assert (chosen - draws * 0.3).abs().max() < 5 * deviation


@pytest.mark.parametrize("pooler", [True, False])
def test_biases_of_a_bert_base_are_the_papers_82944(pooler):
    """Ansell et al. (2022), §4.2: 0.047% of mBERT; a pooler may have come with the checkpoint."""
    with torch.device("meta"):
        model = BertModel(BertConfig(vocab_size=10), add_pooling_layer=pooler)
    model = model.to_empty(device="cpu")
    scope = Scope(tuple(name for name, _ in model.named_parameters()), (), ())
    mask = Biases().select(Candidates(model, scope, {}))
    assert mask.num_selected == 82_944
    names = [name for name in mask if mask[name].all()]
    assert len(names) == 12 * 6
    assert all(name.endswith(".bias") for name in names)
    assert str(Biases()) == "Biases"


def small_bert():
    config = BertConfig(
        vocab_size=10, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    return BertModel(config)


def test_biases_that_are_excluded_are_what_the_rules_name():
    """Two layers of six biases: 5 · 8 + 12 entries each; pooler 8; normalisations 5 · 8."""
    given = candidates(small_bert())
    by_rules = {
        (): 2 * 52 + 8 + 40,
        ("type:*Norm",): 2 * 52 + 8,
        ("pooler", "type:*Norm"): 2 * 52,
        ("encoder.layer.0", "*pooler.*", "type:*Norm"): 52,
        ("*.query.bias", "*pooler.*", "type:*Norm"): 2 * 44,
    }
    for rules, expected in by_rules.items():
        assert Biases(exclude=list(rules)).select(given).num_selected == expected
    assert str(Biases(exclude=["pooler"])) == "Biases(exclude=['pooler'])"


def test_a_rule_for_biases_that_matches_nothing_is_refused():
    with pytest.raises(LtsftError, match="`exclude` of `Biases` .* but 'poler' matches none"):
        Biases(exclude=["poler"]).select(candidates(small_bert()))


def test_biases_selects_nothing_else():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    mask = Biases().select(candidates(module))
    assert [name for name in mask if mask[name].all()] == ["0.bias", "2.bias"]
    assert mask.num_selected == 6


def test_only_largest_change_needs_a_dense_phase():
    assert [s().needs_dense_phase for s in (LargestChange, Random, Biases)] == [True, False, False]
    assert [s.needs_budget for s in (LargestChange, Random, Biases)] == [True, True, False]
