"""How the learning rate changes over a training."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ltsft.errors import LtsftError


def linear_to_zero(optimizer: Optimizer, num_steps: float) -> LambdaLR:
    """A schedule that falls linearly from the optimizer's rate to 0, without warm-up.

    Args:
        optimizer: Whose rate to schedule.
        num_steps: Optimizer steps until 0.

    Raises:
        LtsftError: If the number of steps is unlimited: there is no line to infinity.

    Example:
        >>> from torch import nn, optim
        >>> optimizer = optim.AdamW(nn.Linear(1, 1).parameters(), lr=0.5)
        >>> [linear_to_zero(optimizer, 4).lr_lambdas[0](step) for step in (0, 1, 4, 5)]
        [1.0, 0.75, 0.0, 0.0]
    """
    if math.isinf(num_steps):
        raise LtsftError(
            "`trainer.max_steps` or `trainer.max_epochs` is expected to be set for a learning rate "
            "that falls to 0 at the end, but training has none; set one, or with the sparse "
            "callback the lengths of its phases (`sparse.dense.max_epochs` and so on)."
        )
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / max(1, num_steps)))
