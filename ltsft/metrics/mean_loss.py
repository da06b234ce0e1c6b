"""Losses as means over what was predicted, not over batches."""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """Mean loss per prediction; batches and ranks of any size give one value.

    The mean of batch means, which ``self.log`` takes by itself, weighs a short last batch like a
    full one. Without any prediction the value is NaN, which no best weights are chosen by.

    Example:
        >>> loss = MeanLoss()
        >>> loss.update(torch.tensor(3.0), 1)
        >>> loss.update(torch.tensor(3.0), 5)
        >>> loss.compute()
        tensor(1.)
    """

    higher_is_better = False
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor | int) -> None:
        """Add some predictions.

        Args:
            total: Sum of their losses, a scalar.
            count: How many they are.
        """
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        """The mean over all that was added."""
        return self.total / self.count


class Perplexity(MeanLoss):
    """Exponential of the mean loss, which is to be in nats.

    Example:
        >>> perplexity = Perplexity()
        >>> perplexity.update(torch.tensor(0.0), 2)
        >>> perplexity.compute()
        tensor(1.)
    """

    def compute(self) -> Tensor:
        """The perplexity over all that was added."""
        return super().compute().exp()
