"""Where a fit is in its program."""

from types import SimpleNamespace

import pytest

from ltsft.callbacks import Phase
from ltsft.callbacks.clock import Clock
from ltsft.errors import LtsftError
from ltsft.sparse import Growing, LargestChange, Program, ToStart, ToStep


def at(step, passes=0):
    """A Trainer after so many optimizer steps and passes, as far as a clock looks at it."""
    progress = SimpleNamespace(current=SimpleNamespace(processed=passes))
    loop = SimpleNamespace(epoch_progress=progress)
    return SimpleNamespace(global_step=step, fit_loop=loop, fast_dev_run=False)


def clock_of(rounds=1, rewinding=None):
    program = Program(LargestChange(), Growing(rounds), rewinding or ToStart())
    clock = Clock(program, {"dense": Phase(max_steps=5), "sparse": Phase(max_steps=7)}, at(0))
    clock.lengths = {"dense": 5, "sparse": 7}
    return clock


def test_it_walks_through_the_program():
    clock, step, seen = clock_of(rounds=2), 0, []
    while True:
        while not clock.over:
            step += 1
            clock.tick(at(step))
        seen.append((clock.phase, clock.leg.round, step, clock.is_last))
        if clock.is_last:
            break
        clock.advance(at(step))
    assert seen == [
        ("dense", 0, 5, False),
        ("sparse", 0, 12, False),
        ("dense", 1, 17, False),
        ("sparse", 1, 24, True),
    ]
    assert clock.taken == {"dense": 10, "sparse": 14}


def test_a_rewinding_to_a_step_skips_so_many():
    clock = clock_of(rewinding=ToStep(3))
    clock.tick(at(5))
    clock.advance(at(5))
    assert clock.position(at(5)) == "sparse 3/7"
    clock.tick(at(8))
    assert not clock.over
    clock.tick(at(9))
    assert clock.over
    assert clock.taken == {"dense": 5, "sparse": 4}


def test_its_state_is_all_there_is_to_it():
    clock = clock_of(rounds=2)
    for step in (5, 12):
        clock.tick(at(step))
        clock.advance(at(step, passes=step))
    clock.tick(at(14))
    again = clock_of(rounds=2)
    again.load_state_dict(clock.state_dict())
    assert vars(again) | {"program": None} == vars(clock) | {"program": None}
    assert again.position(at(14)) == "dense 2/5"


def test_a_step_that_a_phase_does_not_have():
    clock_of().check_step(4, at(0))
    with pytest.raises(LtsftError, match="below the length of both phases, 5 steps, but got 5"):
        clock_of().check_step(5, at(0))
