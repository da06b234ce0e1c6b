"""Intervals and tests against exact values and loops written by hand."""

import math

import pytest
import torch

from ltsft.metrics.bootstrap import bootstrap, compare, f1, ratio


def test_scores_of_all_examples():
    counts = torch.tensor([[1, 2], [3, 3], [0, 0]])
    assert bootstrap(counts, ratio).value == pytest.approx(4 / 5)
    assert f1(torch.tensor([2.0, 3.0, 4.0])).item() == pytest.approx(2 * 2 / 7)
    assert ratio(torch.zeros(2)).item() == f1(torch.zeros(3)).item() == 0


def test_the_interval_is_that_of_the_binomial():
    """One word a sentence: the bootstrap of a share is binomial, so its spread is known."""
    counts = torch.tensor([[1, 1]] * 700 + [[0, 1]] * 300)
    value, low, high = bootstrap(counts, ratio, num_samples=4000)
    spread = 1.96 * math.sqrt(0.7 * 0.3 / 1000)
    assert value == pytest.approx(0.7)
    assert low == pytest.approx(0.7 - spread, abs=0.003)
    assert high == pytest.approx(0.7 + spread, abs=0.003)


def test_words_of_a_sentence_go_together():
    """Sentences of ten equal words: as wide as for a tenth of the words, drawn alone."""
    together = torch.tensor([[10, 10]] * 35 + [[0, 10]] * 15)
    alone = torch.tensor([[1, 1]] * 35 + [[0, 1]] * 15)
    assert bootstrap(together, ratio) == pytest.approx(bootstrap(alone, ratio))


def test_pairing_finds_what_intervals_hide():
    """Two systems wrong on nearly the same examples: a small difference that is always there."""
    first = torch.tensor([[1, 1]] * 500 + [[0, 1]] * 500)
    second = torch.tensor([[1, 1]] * 520 + [[0, 1]] * 480)
    a, b = bootstrap(first, ratio), bootstrap(second, ratio)
    assert a.high > b.low
    result = compare(first, second, ratio)
    assert result.difference.value == pytest.approx(0.02)
    assert result.difference.low > 0
    assert result.p_value < 0.01
    swapped = compare(second, first, ratio)
    assert swapped.difference.value == pytest.approx(-0.02)
    assert swapped.p_value == result.p_value


def test_runs_of_several_seeds_are_scored_by_their_mean():
    """Against a loop over the very draws: each run scored by itself, then the mean."""
    first = torch.tensor([[[3, 4], [0, 1], [1, 2]], [[4, 4], [1, 1], [0, 2]]])
    second = torch.tensor([[1, 4], [1, 1], [2, 2]])
    mean = (4 / 7 + 5 / 7) / 2
    assert bootstrap(first, ratio).value == pytest.approx(mean)
    generator = torch.Generator().manual_seed(5)
    means, differences = [], []
    for _ in range(300):
        drawn = torch.randint(3, (3,), generator=generator).tolist()
        scores = [
            sum(run[i][0].item() for i in drawn) / sum(run[i][1].item() for i in drawn)
            for run in (*first, second)
        ]
        means.append((scores[0] + scores[1]) / 2)
        differences.append(scores[2] - means[-1])
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)

    def interval(samples):
        return torch.quantile(torch.tensor(samples, dtype=torch.float64), ends).tolist()

    found = bootstrap(first, ratio, seed=5, num_samples=300)
    assert [found.low, found.high] == pytest.approx(interval(means))
    result = compare(first, second, ratio, seed=5, num_samples=300)
    assert result.difference.value == pytest.approx(4 / 7 - mean)
    assert [result.difference.low, result.difference.high] == pytest.approx(interval(differences))


def test_no_difference():
    counts = torch.tensor([[1, 1], [0, 1]] * 50)
    result = compare(counts, counts, ratio)
    assert result.difference == (0, 0, 0)
    assert result.p_value == 1


def test_other_examples_are_refused():
    with pytest.raises(ValueError, match=r"shape of `first`, \(2, 2\), but got \(3, 2\)"):
        compare(torch.ones(2, 2), torch.ones(3, 2), ratio)
