"""K, density and reduction factor of every kind of encoder, there and back."""

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForTokenClassification, BertConfig

from ltsft.commands.inspect import as_text, describe
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Budget,
    EncoderSize,
    Equivalents,
    Metadata,
    SparseDelta,
    SparseFineTuning,
)
from tests.tiny import CONFIGS

BASE = EncoderSize(num_layers=12, hidden_size=768)


def encoder(kind):
    with torch.device("meta"):
        return AutoModel.from_config(CONFIGS[kind]())


@pytest.mark.parametrize(
    ("num_params", "factor", "factor_invertible"),
    [(14_155_776, 1, None), (442_368, 32, None), (7_667_712, None, 2)],
)
def test_the_papers_numbers(num_params, factor, factor_invertible):
    """Ansell et al. (2022), §4.2 and footnote 4, in a base model."""
    same = Equivalents(num_params, size=BASE)
    if factor is not None:
        assert same.reduction_factor == factor
    if factor_invertible is not None:
        assert same.reduction_factor_invertible == factor_invertible


def test_the_papers_shares():
    """§4.2: K = 7,667,712 is 4.3% of mBERT's 177,853,440 parameters."""
    same = Equivalents(7_667_712, num_maskable=1000, num_total=177_853_440)
    assert round(same.density_of_model, 3) == 0.043
    assert same.density == 7667.712


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(
    "budget",
    [
        Budget(density=0.4),
        Budget(num_params=999),
        Budget(reduction_factor=3),
        Budget(reduction_factor=2, invertible=True),
    ],
    ids=str,
)
def test_each_way_leads_to_the_same_k_in_every_encoder(kind, budget):
    model = encoder(kind)
    num_maskable = sum(parameter.numel() for parameter in model.parameters())
    same = budget.equivalents(model, num_maskable)
    assert same.num_params == budget.resolve(model, num_maskable)
    others = [
        Budget(num_params=same.num_params),
        Budget(density=same.density),
        Budget(reduction_factor=same.reduction_factor),
        Budget(reduction_factor=same.reduction_factor_invertible, invertible=True),
    ]
    assert {other.resolve(model, num_maskable) for other in others} == {same.num_params}
    assert same.density_of_model == same.density


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_size_can_be_read_off_names_and_shapes(kind):
    model = encoder(kind)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert EncoderSize.of(model) == EncoderSize.read_off(shapes, shapes)
    assert EncoderSize.read_off(shapes, {}) is None
    assert EncoderSize.read_off([], {"embeddings.weight": (5, 3)}) is None


def test_a_size_is_found_inside_a_larger_module():
    config = BertConfig(
        num_hidden_layers=3, hidden_size=24, num_attention_heads=2, intermediate_size=7
    )
    with torch.device("meta"):
        model = nn.Sequential(AutoModelForTokenClassification.from_config(config))
    assert EncoderSize.of(model) == EncoderSize(3, 24)
    assert EncoderSize.of(nn.Linear(1, 1)) is None


def test_what_is_not_known_is_none():
    same = Equivalents(10)
    assert (same.density, same.density_of_model) == (None, None)
    assert (same.reduction_factor, same.reduction_factor_invertible) == (None, None)
    assert Equivalents(0, 10, 20, BASE).reduction_factor is None
    assert Equivalents(768**2, size=BASE).reduction_factor_invertible is None


def test_a_model_without_a_size_has_a_density_only():
    same = Budget(num_params=3).equivalents(nn.Linear(5, 1), 5)
    assert (same.density, same.density_of_model) == (0.6, 0.5)
    assert same.reduction_factor is None
    with pytest.raises(LtsftError, match="at most the 5 maskable entries"):
        Budget(num_params=7).equivalents(nn.Linear(5, 1), 5)


def test_inspect_shows_them():
    """Also where the last layer holds no entry, since the metadata name all maskable parameters."""
    shapes = {n: tuple(p.shape) for n, p in encoder("bert").named_parameters() if p.dim() == 2}
    entries = {
        name: SparseDelta(shape, torch.arange(100), torch.ones(100))
        for name, shape in shapes.items()
        if "layer.1" not in name and torch.Size(shape).numel() >= 100
    }
    metadata = Metadata(base_digests=dict.fromkeys(shapes, "x"), num_maskable=9000, num_total=12000)
    sft = SparseFineTuning(entries, metadata=metadata)
    said = describe(sft)
    num_params = 100 * len(entries)
    assert said["density"] == num_params / 9000
    assert said["density_of_model"] == num_params / 12000
    assert said["reduction_factor"] == 2 * 2 * 16**2 / num_params
    assert said["reduction_factor_invertible"] == 2 * 2 * 16**2 / (num_params - 16**2)
    expected = f"reduction_factor: {1024 / num_params:.4g}, or "
    assert expected in as_text("x", said, False)
    assert "with `invertible: true`" in as_text("x", said, False)
    assert describe(SparseFineTuning({}))["reduction_factor"] is None
