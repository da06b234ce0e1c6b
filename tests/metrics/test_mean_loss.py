"""Mean losses: over predictions, however they are split into batches and ranks."""

import math

import torch

from ltsft.metrics import MeanLoss, Perplexity


def test_batches_and_ranks_of_any_size_give_one_mean():
    losses = torch.rand(23, generator=torch.Generator().manual_seed(0))
    for sizes in ([23], [10, 10, 3], [1] * 23):
        ranks = [MeanLoss(), MeanLoss()]
        for number, part in enumerate(losses.split(sizes)):
            ranks[number % 2].update(part.sum(), len(part))
        ranks[0].merge_state(ranks[1])
        torch.testing.assert_close(ranks[0].compute(), losses.mean())


def test_perplexity_is_the_exponential_of_the_mean():
    perplexity = Perplexity()
    perplexity.update(torch.tensor(4 * math.log(7.0)), torch.tensor(4))
    torch.testing.assert_close(perplexity.compute(), torch.tensor(7.0))


def test_nothing_has_no_mean():
    """Not 0, which best weights would be chosen by."""
    assert MeanLoss().compute().isnan()
