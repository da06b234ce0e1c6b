"""A loss as a sum and a count: their mean is torch's own, and nothing is no trap."""

import torch
from torch.nn.functional import cross_entropy

from ltsft.tasks.loss import loss_where


def test_the_mean_is_that_of_what_is_scored() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, 3, generator=generator)
    gold = torch.randint(0, 3, (4, 7), generator=generator)
    scored = torch.rand(4, 7, generator=generator) < 0.5
    loss = loss_where(scored, logits, gold.masked_fill(~scored, -1))
    expected = cross_entropy(
        logits.flatten(0, 1), gold.masked_fill(~scored, -100).flatten(), ignore_index=-100
    )
    torch.testing.assert_close(loss.mean, expected)
    assert loss.num_scored == scored.sum()


def test_a_batch_without_anything_to_score_moves_nothing() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = loss_where(torch.zeros(2, dtype=torch.bool), logits, torch.full((2,), -100))
    loss.mean.backward()
    assert loss.mean == 0
    assert torch.equal(logits.grad, torch.zeros(2, 3))


def test_half_precision_is_summed_in_float32() -> None:
    logits = torch.zeros(1000, 2, dtype=torch.bfloat16)
    loss = loss_where(torch.ones(1000, dtype=torch.bool), logits, torch.zeros(1000).long())
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.mean, torch.tensor(2.0).log())
