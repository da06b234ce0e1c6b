"""The callback's parts on their own."""

import random

import numpy as np
import pytest
import torch

from ltsft.callbacks import Phase, PhaseProgressBar, random_state
from ltsft.callbacks.best_weights import BestWeights
from tests.callbacks.plain import Plain, callback, data, trainer


@pytest.mark.parametrize(
    ("settings", "steps_per_epoch", "expected"),
    [
        ({"max_steps": 100_000, "max_epochs": 100, "min_steps": 30_000}, 2000, 100_000),
        ({"max_steps": 100_000, "max_epochs": 100, "min_steps": 30_000}, 500, 50_000),
        ({"max_steps": 100_000, "max_epochs": 100, "min_steps": 30_000}, 10, 30_000),
        ({"max_steps": 5}, float("inf"), 5),
        ({"max_epochs": 2}, 7, 14),
    ],
)
def test_length_is_the_papers_rule(settings, steps_per_epoch, expected):
    """The lesser of 100 epochs and 100,000 steps, at least 30,000 (§4.2)."""
    assert Phase(**settings).num_steps(steps_per_epoch) == expected


def test_best_weights_are_a_copy_and_the_earlier_of_equals():
    best, weight = BestWeights("min"), torch.ones(2)
    assert best.offer(2.0, {"w": weight})
    weight += 1
    assert not best.offer(2.0, {"w": weight})
    assert not best.offer(float("nan"), {"w": weight})
    assert best.num_since == 2
    assert best.weights["w"].tolist() == [1.0, 1.0]
    assert BestWeights("max").offer(-1.0, {})
    again = BestWeights("min")
    again.load_state_dict(best.state_dict())
    assert (again.value, again.num_since) == (2.0, 2)


def test_random_state_survives_a_weights_only_checkpoint(tmp_path):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    torch.save(random_state.capture(), tmp_path / "state")
    expected = draw()
    random_state.restore(torch.load(tmp_path / "state", weights_only=True))
    assert draw() == expected


def test_the_bar_names_the_phase():
    said = []

    class Watch(PhaseProgressBar):
        def get_metrics(self, trainer, pl_module):
            metrics = super().get_metrics(trainer, pl_module)
            said.append(metrics.get("phase"))
            return metrics

    trainer(callback(), Watch(), enable_progress_bar=True).fit(Plain(), data())
    assert "dense 12/12" in said
    assert "sparse 15/15" in said
