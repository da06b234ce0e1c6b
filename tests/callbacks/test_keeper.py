"""Keeping the best weights of a phase, on its own."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ltsft.callbacks.keeper import Keeper
from ltsft.callbacks.monitor import Monitor
from ltsft.errors import LtsftError
from ltsft.sparse import Ticket


def fake(value, sanity=False, num_loaders=1):
    strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    return SimpleNamespace(
        callback_metrics={"score": torch.tensor(value)},
        sanity_checking=sanity,
        strategy=strategy,
        num_val_batches=[1] * num_loaders,
        global_step=7,
    )


def keeper_of(name="score"):
    return Keeper(Monitor(name, "max" if name else None, nn.Module()))


HERE = SimpleNamespace(device=torch.device("cpu"))


def test_the_best_validation_comes_back_and_is_noted():
    module, keeper = nn.Linear(2, 1), keeper_of()
    ticket = Ticket(module)
    keeper.offer(ticket, fake(9.0, sanity=True), HERE)  # logs the metric, and is no validation
    assert keeper.best.value is None
    for score in (1.0, 3.0, 2.0):
        module.bias.data.fill_(score)
        keeper.offer(ticket, fake(score), HERE)
    again = keeper_of()
    again.load_state_dict(keeper.state_dict())
    again.put_back(ticket, "dense")
    assert module.bias.item() == 3.0
    assert again.scored == {"dense": 3.0}
    again.begin_phase()
    assert again.best.value is None
    assert again.scored == {"dense": 3.0}


@pytest.mark.parametrize(
    ("scores", "num_equal"),
    [([0.0, 0.0, 0.0], 3), ([1.0, 2.0, 2.0], 2), ([2.0, 2.0, 1.0], 0), ([1.0, 2.0], 0), ([1.0], 0)],
)
def test_a_metric_that_cannot_choose_is_told(scores, num_equal):
    """All that came since the best one first scored like it; a checkpoint in between or not."""
    ticket, keeper, again = Ticket(nn.Linear(2, 1)), keeper_of(), keeper_of()
    for score in scores:
        keeper.offer(ticket, fake(score), HERE)
        again.load_state_dict(keeper.state_dict())
    for kept in (keeper, again):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kept.put_back(ticket, "dense")
        said = [str(warning.message) for warning in caught]
        assert len(said) == bool(num_equal)
        assert all(f"best and last {num_equal} validations of the dense" in line for line in said)


def test_without_a_metric_the_last_weights_stay():
    module, keeper = nn.Linear(2, 1), keeper_of(None)
    ticket = Ticket(module)
    module.bias.data.fill_(7.0)
    keeper.offer(ticket, fake(1.0), HERE)
    keeper.put_back(ticket, "sparse")
    assert module.bias.item() == 7.0
    assert keeper.scored == {"sparse": None}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_metric_that_is_no_number_stops_the_fit(value):
    keeper = keeper_of()
    ticket = Ticket(nn.Linear(2, 1))
    with pytest.raises(LtsftError, match=f"`score` .* finite, but was {value} after step 7: train"):
        keeper.offer(ticket, fake(float(value)), HERE)
    keeper.offer(ticket, fake(float(value), sanity=True), HERE)


def test_a_phase_without_a_validation():
    with pytest.raises(LtsftError, match="`score` is expected to be validated at least once in"):
        keeper_of().put_back(Ticket(nn.Linear(2, 1)), "dense")


def test_of_several_loaders_the_sanity_check_logs_nothing():
    """Lightning keeps no metric of theirs then; a validation that logs none is refused."""
    module, keeper = nn.Linear(2, 1), keeper_of("score/dataloader_idx_0")
    ticket = Ticket(module)
    keeper.offer(ticket, fake(1.0, sanity=True, num_loaders=2), HERE)
    with pytest.raises(LtsftError, match="is expected to be a metric that the validation logs"):
        keeper.offer(ticket, fake(1.0, num_loaders=2), HERE)
