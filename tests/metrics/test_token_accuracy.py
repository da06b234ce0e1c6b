"""Accuracy against a loop, with words that are unknown, unanswered, or none."""

import pytest
import torch

from ltsft.metrics import TokenAccuracy


def test_it_is_that_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randint(-1, 3, (6, 9), generator=generator)
    gold = torch.randint(-1, 3, (6, 9), generator=generator)
    gold[:, 6:] = -100
    right = words = 0
    for guess, label in zip(predictions.flatten().tolist(), gold.flatten().tolist(), strict=True):
        if label == -100:
            continue
        words += 1
        right += label != -1 and guess == label
    ranks = [TokenAccuracy(), TokenAccuracy()]
    ranks[0].update(predictions[:5], gold[:5])
    ranks[1].update(predictions[5:], gold[5:])
    ranks[0].merge_state(ranks[1])
    assert 0 < right < words
    assert ranks[0].compute().item() == pytest.approx(right / words)


def test_no_words():
    accuracy = TokenAccuracy()
    accuracy.update(torch.tensor([[1]]), torch.tensor([[-100]]))
    assert accuracy.compute() == 0
