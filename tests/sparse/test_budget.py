"""K in three ways; the paper's numbers."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from ltsft.errors import LtsftError
from ltsft.sparse import Budget


@pytest.fixture(scope="module")
def bert_base():
    with torch.device("meta"):
        return BertModel(BertConfig(vocab_size=10))


def test_the_papers_language_budget(bert_base):
    """12 · 2 · 768² / 2 + 768², §4.2: "∼7.6M"."""
    assert Budget(reduction_factor=2, invertible=True).resolve(bert_base, 10**9) == 7_667_712


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1, 14_155_776), (2, 7_077_888), (4, 3_538_944), (8, 1_769_472), (16, 884_736), (32, 442_368)],
)
def test_the_papers_task_budgets(bert_base, factor, expected):
    """Footnote 4: 442K, 884K, 1.7M, 3.5M, 7.1M and 14.2M."""
    assert Budget(reduction_factor=factor).resolve(bert_base, 10**9) == expected


def test_density_is_of_the_maskable():
    assert Budget(density=0.25).resolve(nn.Linear(1, 1), 1000) == 250
    assert Budget(density=1.0).resolve(nn.Linear(1, 1), 1000) == 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of .* but got none"),
        ({"num_params": 1, "density": 0.1}, "exactly one of .* but got num_params, density"),
        ({"density": 0.0}, "above 0 and at most 1"),
        ({"density": 1.5}, "above 0 and at most 1"),
        ({"num_params": -1}, "1 or more, but got -1"),
        ({"reduction_factor": 0}, "above 0, but got 0"),
        ({"num_params": 1, "invertible": True}, "beside `reduction_factor` only"),
    ],
)
def test_mistakes_are_refused(settings, message):
    with pytest.raises(LtsftError, match=message):
        Budget(**settings)


def test_more_than_there_is_is_refused():
    with pytest.raises(LtsftError, match="at most the 10 maskable entries, but num_params: 11"):
        Budget(num_params=11).resolve(nn.Linear(1, 1), 10)


def test_a_reduction_factor_needs_a_model_with_a_size():
    with pytest.raises(LtsftError, match="but Linear has none; use `num_params` or `density`"):
        Budget(reduction_factor=2).resolve(nn.Linear(1, 1), 10)
