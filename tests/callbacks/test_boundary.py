"""How Lightning is made to end a phase, judged by what the Trainer is asked for."""

from types import SimpleNamespace

import pytest

from ltsft.callbacks.boundary import Boundary


def fake(stopped=False, every=3):
    return SimpleNamespace(should_stop=stopped, check_val_every_n_epoch=every)


def test_the_epoch_ends_with_a_validation_and_the_fit_goes_on():
    trainer, boundary = fake(), Boundary()
    boundary.close(trainer)
    assert (trainer.should_stop, trainer.check_val_every_n_epoch) == (True, 1)
    boundary.close(trainer)  # again, by the validation
    boundary.cross(trainer, is_last=False)
    assert (trainer.should_stop, trainer.check_val_every_n_epoch) == (False, 3)


def test_the_last_phase_ends_the_fit():
    trainer, boundary = fake(), Boundary()
    boundary.close(trainer)
    boundary.cross(trainer, is_last=True)
    assert (trainer.should_stop, trainer.check_val_every_n_epoch) == (True, 3)


@pytest.mark.parametrize("every", [None, 3])
def test_a_stop_that_is_not_ours_stays(every):
    """Of a Timer, a signal, another callback."""
    trainer, boundary = fake(stopped=True, every=every), Boundary()
    boundary.close(trainer)
    boundary.cross(trainer, is_last=False)
    assert (trainer.should_stop, trainer.check_val_every_n_epoch) == (True, every)
