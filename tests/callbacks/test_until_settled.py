"""When a set of entries counts as settled, on its own."""

import pytest
import torch

from ltsft.callbacks import UntilSettled
from ltsft.errors import LtsftError
from ltsft.sparse import Mask


def mask_of(positions):
    """A mask over 3 + 7 entries in two tensors."""
    flat = torch.zeros(10, dtype=torch.bool)
    flat[list(positions)] = True
    return Mask({"a": flat[:3], "b": flat[3:].view(1, 7)})


def test_overlaps_are_those_of_sets_and_count_in_a_row():
    sets = [{0, 1, 2, 3}, {0, 1, 2, 9}, {0, 1, 2, 9}, {5, 6, 7, 8}, {5, 6, 7, 9}, {4, 5, 6, 7}]
    settled = UntilSettled(overlap=0.75, patience=2)
    seen = []
    for before, now in zip([None, *sets], sets, strict=False):
        overlap = settled.compare(mask_of(now))
        assert overlap == (None if before is None else len(before & now) / 4)
        seen.append(settled.reached)
    assert seen == [False, False, True, False, False, True]


def test_state_survives_and_can_be_reset(tmp_path):
    settled = UntilSettled(overlap=1.0, patience=2)
    settled.compare(mask_of({1, 2}))
    settled.compare(mask_of({1, 2}))
    torch.save(settled.state_dict(), tmp_path / "state")
    again = UntilSettled(overlap=1.0, patience=2)
    again.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert not again.reached
    assert again.compare(mask_of({1, 2})) == 1.0
    assert again.reached
    again.reset()
    assert not again.reached
    assert again.compare(mask_of({1, 2})) is None


def test_a_set_of_nothing_never_settles():
    settled = UntilSettled(patience=1)
    settled.compare(mask_of(()))
    assert settled.compare(mask_of(())) == 0.0
    assert not settled.reached


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": 0.0}, "`sparse.until_settled.overlap` .* above 0 and at most 1 .* got 0.0"),
        ({"overlap": 1.5}, "`sparse.until_settled.overlap` .* got 1.5"),
        ({"patience": 0}, "`sparse.until_settled.patience` is expected to be 1 or more, but got 0"),
    ],
)
def test_mistakes_are_refused(settings, message):
    with pytest.raises(LtsftError, match=message):
        UntilSettled(**settings)
