"""How K is divided over rounds, and what each chooses from."""

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.sparse import Growing, Mask, Shrinking

BEFORE = Mask({"w": torch.tensor([True, True, False, False])})
CHOSEN = Mask({"w": torch.tensor([False, True, True, False])})


@pytest.mark.parametrize("num_params", [0, 1, 7, 100, 999])
@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_growing_shares_sum_to_exactly_k_and_differ_by_one_at_most(num, num_params):
    shares = Growing(num).num_selected(1000, num_params)
    assert len(shares) == num
    assert sum(shares) == num_params
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("num_params", [1, 7, 100, 999])
@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_shrinking_never_grows_and_ends_at_exactly_k(num, num_params):
    left = Shrinking(num).num_selected(1000, num_params)
    assert left == sorted(left, reverse=True)
    assert left[-1] == num_params
    assert all(0 < count <= 1000 for count in left)


def test_growing_chooses_among_what_is_left_and_adds():
    assert Growing(2).within(BEFORE)["w"].tolist() == [False, False, True, True]
    assert Growing(2).joined(BEFORE, CHOSEN)["w"].tolist() == [True, True, True, False]


def test_shrinking_chooses_among_what_there_is_and_replaces():
    assert Shrinking(2).within(BEFORE)["w"].tolist() == [True, True, False, False]
    assert Shrinking(2).joined(BEFORE, CHOSEN)["w"].tolist() == CHOSEN["w"].tolist()


def test_no_round_is_refused():
    with pytest.raises(LtsftError, match="`sparse.rounds.num` is expected to be 1 or more"):
        Shrinking(0)
