"""The rate falls in equal steps, and needs to know how many."""

import math

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.tasks.schedule import linear_to_zero


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.5)


def test_from_the_rate_to_zero_in_equal_steps() -> None:
    sgd = optimizer()
    schedule = linear_to_zero(sgd, 5)
    rates = []
    for _ in range(7):
        rates.append(schedule.get_last_lr()[0])
        sgd.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0])


def test_no_line_to_infinity() -> None:
    with pytest.raises(LtsftError, match="`trainer.max_steps` or `trainer.max_epochs` is expected"):
        linear_to_zero(optimizer(), math.inf)
