"""What ends a phase early."""

from types import SimpleNamespace

import pytest

from ltsft.callbacks import Phase
from ltsft.callbacks.stopping import Patience, Stop, Validated


def validated(patience, num_since):
    clock = SimpleNamespace(settings=Phase(max_steps=9, patience=patience))
    return Validated(clock, SimpleNamespace(num_since=num_since), None, True, None)


@pytest.mark.parametrize(
    ("patience", "num_since", "ends"),
    [(None, 99, False), (2, 1, False), (2, 2, True), (2, 3, True)],
)
def test_patience_counts_validations_without_a_new_best(patience, num_since, ends):
    assert Patience().ends(validated(patience, num_since)) is ends


def test_a_rule_without_state_has_none_to_save():
    assert Stop().state_dict() == {}
    assert not Stop().ends(validated(1, 9))
