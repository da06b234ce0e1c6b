"""Span F1 against seqeval."""

import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from ltsft.errors import LtsftError
from ltsft.metrics import SpanF1


@pytest.mark.parametrize("strict", [False, True])
def test_span_f1_is_seqevals(strict):
    """On random tag sequences, stray I- tags included, in batches and merged over two ranks."""
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    generator = torch.Generator().manual_seed(0)
    settings = {"mode": "strict", "scheme": IOB2} if strict else {}
    for _ in range(30):
        gold, guess = torch.randint(0, 5, (2, 6, 9), generator=generator)
        guess = torch.where(torch.rand(guess.shape, generator=generator) < 0.6, gold, guess)
        ranks = [SpanF1(names, strict=strict) for _ in range(2)]
        ranks[0].update(guess[:4], gold[:4])
        ranks[1].update(guess[4:], gold[4:])
        ranks[0].merge_state(ranks[1])
        spell = [[[names[i] for i in row] for row in rows.tolist()] for rows in (gold, guess)]
        expected = f1_score(*spell, **settings)
        assert ranks[0].compute().item() == pytest.approx(expected, abs=1e-6)


def test_unknown_gold_labels_are_spans_that_nobody_finds():
    """Each unbroken run is one; padding is none; words without an answer are outside."""
    metric = SpanF1(["O", "B-PER", "I-PER"])
    gold = torch.tensor([[1, 2, -1, -1, 0, -1, -100]])
    metric.update(torch.tensor([[1, 2, 1, 2, 0, -1, 1]]), gold)
    assert (metric.matched, metric.predicted, metric.gold) == (1, 2, 3)
    assert metric.compute() == pytest.approx(2 * 1 / (2 + 3))


def test_labels_that_are_no_spans_are_refused():
    for label in ("NOUN", "B-", "I"):
        with pytest.raises(LtsftError, match=f"`labels` is expected to hold .* but got '{label}'"):
            SpanF1(["O", label])
