"""The program of phases as a value: each combination of rounds, rewinding and selection."""

from itertools import product

import pytest

from ltsft.errors import LtsftError
from ltsft.sparse import (
    AllEntries,
    Biases,
    ChangeTimesMagnitude,
    DiffPruning,
    FisherInformation,
    Growing,
    LargestChange,
    LearningRate,
    Leg,
    LowRankChange,
    NoEntries,
    Program,
    Prune,
    Quota,
    Random,
    Shrinking,
    Sign,
    ToStart,
    ToStep,
)

DENSE = Leg("dense", selects=True)
SPARSE = Leg("sparse", holds=True)


def test_the_papers_program():
    program = Program(LargestChange(), Growing(1), ToStart())
    assert list(program) == [DENSE, SPARSE]
    assert not program.selects_first
    assert str(program) == "dense, select by LargestChange, rewind by ToStart, sparse"


@pytest.mark.parametrize("selection", [Random(), Biases(), AllEntries(), NoEntries()], ids=str)
@pytest.mark.parametrize("rounds", [Growing(1), Shrinking(1)], ids=str)
def test_without_a_dense_phase_entries_are_selected_first(selection, rounds):
    program = Program(selection, rounds, ToStart())
    assert list(program) == [SPARSE]
    assert program.selects_first
    assert str(program) == f"select by {selection}, sparse"


def test_growing_starts_each_round_from_what_the_last_one_left():
    program = Program(LargestChange(), Growing(3), ToStep(2))
    assert list(program) == [
        Leg("dense", 0, selects=True),
        Leg("sparse", 0, holds=True, first_step=2),
        Leg("dense", 1, selects=True, begins_round=True),
        Leg("sparse", 1, holds=True, first_step=2),
        Leg("dense", 2, selects=True, begins_round=True),
        Leg("sparse", 2, holds=True, first_step=2),
    ]
    assert [program.num_selected(leg, 1000, 11) for leg in program] == [4, 4, 4, 4, 3, 3]


def test_shrinking_holds_what_earlier_rounds_dropped():
    program = Program(LargestChange(), Shrinking(2), ToStep(2))
    assert list(program) == [
        Leg("dense", 0, selects=True),
        Leg("dense", 1, selects=True, holds=True, first_step=2),
        Leg("sparse", 1, holds=True, first_step=2),
    ]
    assert [program.num_selected(leg, 1000, 10) for leg in program] == [100, 10, 10]


def test_pruning_leaves_the_sparse_phase_out():
    assert list(Program(LargestChange(), Growing(1), Prune())) == [DENSE]
    assert [leg.phase for leg in Program(LargestChange(), Shrinking(3), Prune())] == ["dense"] * 3


WITH_DENSE = [
    LargestChange(),
    ChangeTimesMagnitude(),
    LowRankChange(),
    DiffPruning(),
    FisherInformation(at_start=False),
    Quota(LargestChange()),
]
AT_START = [FisherInformation(), Quota(FisherInformation("least"))]
WITHOUT_DENSE = [Random(), Quota(Random()), Biases(), AllEntries(), NoEntries()]
REWINDINGS = [ToStart(), ToStep(3), LearningRate(), Sign(), Prune()]
ROUNDS = [Growing(1), Shrinking(1), Growing(2), Shrinking(2), Growing(4), Shrinking(4)]


def refusal(selection, rounds, rewinding):
    """Why a combination cannot be, told from the paper's words alone; `None` if it can."""
    if not isinstance(rewinding, ToStart):
        if any(selection is other for other in WITHOUT_DENSE):
            return "no dense phase"  # nothing was trained that could be gone back to
        if any(selection is other for other in AT_START):
            return "keeps the weights at their start"
    if rounds.num > 1:
        if any(selection is other for other in WITHOUT_DENSE):
            return "no dense phase"  # each round begins with one
        if isinstance(rounds, Growing) and isinstance(rewinding, Prune):
            return "leaves out sparse phases"  # a round of growing ends with one
    return None


@pytest.mark.parametrize("selection", [*WITH_DENSE, *AT_START, *WITHOUT_DENSE], ids=str)
def test_each_combination_is_a_program_or_one_line(selection):
    for rounds, rewinding in product(ROUNDS, REWINDINGS):
        reason = refusal(selection, rounds, rewinding)
        if reason is not None:
            with pytest.raises(LtsftError, match=reason) as caught:
                Program(selection, rounds, rewinding)
            assert "\n" not in str(caught.value)
            continue
        legs = list(Program(selection, rounds, rewinding))
        dense = [leg for leg in legs if leg.phase == "dense"]
        sparse = [leg for leg in legs if leg.phase == "sparse"]
        prunes = isinstance(rewinding, Prune)
        grows = isinstance(rounds, Growing)
        assert len(dense) == (0 if any(selection is s for s in WITHOUT_DENSE) else rounds.num)
        assert len(sparse) == (0 if prunes else rounds.num if grows else 1)
        assert all(leg.holds for leg in sparse)
        assert all(leg.selects for leg in dense)
        assert not any(leg.selects for leg in sparse)
        assert legs[-1].round == rounds.num - 1


class TestMistakes:
    def test_a_rewinding_without_a_dense_phase(self):
        with pytest.raises(LtsftError, match="`Random`, which has no dense phase, but got `Prune`"):
            Program(Random(), Growing(1), Prune())

    def test_rounds_without_sparse_phases_between(self):
        with pytest.raises(LtsftError, match=r"`Shrinking` with `Prune`.* got Growing\(2\)"):
            Program(LargestChange(), Growing(2), Prune())
