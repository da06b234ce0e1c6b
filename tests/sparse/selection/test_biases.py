"""All biases: BitFit."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from ltsft.errors import LtsftError
from ltsft.sparse import Biases, Candidates, Scope
from tests.sparse.selection.reference import candidates


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
