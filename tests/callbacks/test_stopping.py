"""What ends a phase early."""

from types import SimpleNamespace

import pytest

from ltsft.callbacks import Phase
from ltsft.callbacks.stopping import Patience, Stop, Validated
from ltsft.errors import LtsftError
from ltsft.sparse import Random
from tests.callbacks.plain import Plain, callback, data, trainer


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


@pytest.mark.parametrize("validation", [None, data(seed=2)], ids=["no validation", "no metric"])
def test_patience_that_could_never_act_is_refused(validation):
    sft = callback(dense=Phase(max_steps=5), sparse=Phase(max_steps=5, patience=2))
    with pytest.raises(LtsftError, match="`sparse.sparse.patience` is expected beside a metric"):
        trainer(sft).fit(Plain(), data(), validation)
    unused = callback(dense=Phase(max_steps=5, patience=2), selection=Random())
    trainer(unused).fit(Plain(), data())  # there is no dense phase to have patience in
