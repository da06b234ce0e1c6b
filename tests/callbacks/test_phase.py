"""How long a phase is."""

import pytest

from ltsft.callbacks import Phase


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
