"""How sure a score is, and a difference between two systems: the bootstrap over test examples.

Efron (1979); for paired comparison of systems on one test set, Berg-Kirkpatrick et al. (2012).
Examples (sentences, pairs) are drawn with replacement, not words: words of a sentence go right and
wrong together, so intervals over words would be too narrow.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""From sums of counts [..., C] to scores [...]."""

NUM_SAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """A score and its bootstrap interval.

    Args:
        value: The score of all examples.
        low: Lower end of the interval, a percentile of the resampled scores.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two systems on the same examples.

    Args:
        difference: Score of the second less that of the first, with its interval.
        p_value: Share of resamples, doubled, in which the difference is not on the side where it is
            for all examples: a two-sided test of no difference, at least 1 / number of resamples.
    """

    difference: Interval
    p_value: float


def ratio(counts: Tensor) -> Tensor:
    """Share of right ones: counts (right, all) [..., 2] to [...]; 0 where there is nothing."""
    return counts[..., 0] / counts[..., 1].clamp(min=1)


def f1(counts: Tensor) -> Tensor:
    """F1: counts (right, predicted, gold) [..., 3] to [...]; 0 where there is nothing."""
    return 2 * counts[..., 0] / (counts[..., 1] + counts[..., 2]).clamp(min=1)


def bootstrap(
    counts: Tensor, score: Score, seed: int = 0, num_samples: int = NUM_SAMPLES
) -> Interval:
    """Score with a 95% interval.

    Args:
        counts: What each of N examples adds to the sums, [N, C]; or [R, N, C] of R runs of one
            system, say of several seeds, whose mean score it is then. Runs are not drawn, only
            examples: the spread over seeds is another question.
        score: From sums to scores.
        seed: Seed of the draws.
        num_samples: Number of resamples.

    Example:
        >>> right = torch.tensor([[1.0, 1.0]] * 60 + [[0.0, 1.0]] * 40)
        >>> value, low, high = bootstrap(right, ratio)
        >>> round(value, 2), 0.45 < low < 0.55, 0.65 < high < 0.75
        (0.6, True, True)
    """
    (samples,) = _resampled([counts], score, seed, num_samples)
    return _interval(_score_of(counts, score), samples)


def compare(
    first: Tensor, second: Tensor, score: Score, seed: int = 0, num_samples: int = NUM_SAMPLES
) -> Comparison:
    """Paired comparison of two systems on the same examples.

    Args:
        first: Counts of the first system, [N, C] or [R, N, C] of several runs.
        second: Counts of the second, of the same examples in the same order; it may have another
            number of runs.
        score: From sums to scores.
        seed: Seed of the draws.
        num_samples: Number of resamples.

    Raises:
        ValueError: If the two have other numbers of examples.
    """
    if first.shape[-2:] != second.shape[-2:]:
        raise ValueError(
            f"`second` is expected to have the shape of `first`, {tuple(first.shape)}, but got "
            f"{tuple(second.shape)}."
        )
    of_first, of_second = _resampled([first, second], score, seed, num_samples)
    samples = of_second - of_first
    value = _score_of(second, score) - _score_of(first, score)
    other_side = (samples <= 0) if value > 0 else (samples >= 0)
    p_value = min(1.0, max(2 * other_side.double().mean().item(), 1 / num_samples))
    return Comparison(_interval(value, samples), p_value)


def _score_of(counts: Tensor, score: Score) -> Tensor:
    """Score of all examples, the mean over runs."""
    return score(counts.double().sum(-2)).mean()


def _resampled(systems: list[Tensor], score: Score, seed: int, num_samples: int) -> list[Tensor]:
    """Scores of each system in so many resamples, [S] each; an example is in all as often."""
    generator = torch.Generator().manual_seed(seed)
    size = systems[0].shape[-2]
    systems = [counts.double() for counts in systems]
    sums: list[list[Tensor]] = [[] for _ in systems]
    for _ in range(num_samples):
        drawn = torch.randint(size, (size,), generator=generator)
        times = torch.bincount(drawn, minlength=size).double()  # [N]
        for of_system, counts in zip(sums, systems, strict=True):
            of_system.append(times @ counts)  # [C] or [R, C]
    return [score(torch.stack(rows)).reshape(num_samples, -1).mean(1) for rows in sums]


def _interval(value: Tensor, samples: Tensor) -> Interval:
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=samples.dtype)
    low, high = torch.quantile(samples, ends).tolist()
    return Interval(value.item(), low, high)
