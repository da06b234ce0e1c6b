"""All random state of a process."""

import random

import numpy as np
import torch

from ltsft.callbacks import random_state


def test_random_state_survives_a_weights_only_checkpoint(tmp_path):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    torch.save(random_state.capture(), tmp_path / "state")
    expected = draw()
    random_state.restore(torch.load(tmp_path / "state", weights_only=True))
    assert draw() == expected
