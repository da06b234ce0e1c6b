"""Share of words with the right label."""

import torch
from torch import Tensor
from torchmetrics import Metric

from ltsft.batch import PADDING


class TokenAccuracy(Metric):
    """Share of words with the right label.

    torchmetrics' own accuracy knows words that are not asked for, but neither words without an
    answer nor gold labels that no prediction can match. Here both are wrong, not missing.

    Example:
        >>> accuracy = TokenAccuracy()
        >>> accuracy(torch.tensor([[0, 1, -1, 2]]), torch.tensor([[0, 2, -1, -100]]))
        tensor(0.3333)
    """

    higher_is_better = True
    full_state_update = False

    right: Tensor
    words: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("words", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, gold: Tensor) -> None:
        """Count right words.

        Args:
            predictions: Predicted label ids [B, W]; -1 for no answer.
            gold: Gold label ids [B, W]; -1 for one outside the inventory, -100 where no word is.
        """
        self.right += ((predictions == gold) & (gold >= 0)).sum()
        self.words += (gold != PADDING).sum()

    def compute(self) -> Tensor:
        """Accuracy over all that was counted, between 0 and 1; 0 without any word."""
        return self.right / self.words.clamp(min=1)
