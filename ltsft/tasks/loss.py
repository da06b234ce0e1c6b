"""The loss of a batch as a sum and a count, to train on and to add up over batches."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class SummedLoss(NamedTuple):
    """Losses of the predictions that a batch asks for, added up.

    Args:
        total: Their sum, a scalar.
        num_scored: How many they are, a scalar.
    """

    total: Tensor
    num_scored: Tensor

    @property
    def mean(self) -> Tensor:
        """Loss per prediction; 0 if a batch asks for none, since 0/0 would poison the weights.

        Example:
            >>> import torch
            >>> SummedLoss(torch.tensor(3.0), torch.tensor(2)).mean
            tensor(1.5000)
            >>> SummedLoss(torch.tensor(0.0), torch.tensor(0)).mean
            tensor(0.)
        """
        return self.total / self.num_scored.clamp(min=1)


def loss_where(scored: Tensor, logits: Tensor, gold: Tensor) -> SummedLoss:
    """Cross-entropy, in float32 or wider, of what is to be scored.

    Args:
        scored: What that is, [...], bool; there `gold` is a label id.
        logits: Scores of the labels, [..., labels].
        gold: Gold label ids, [...].
    """
    total = cross_entropy(widened(logits[scored]), gold[scored], reduction="sum")
    return SummedLoss(total, scored.sum())


def widened(logits: Tensor) -> Tensor:
    """In float32, or what they are in if that is wider: sums of many losses need its precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
