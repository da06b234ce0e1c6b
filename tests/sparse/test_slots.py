"""Which models can hold an adapter."""

import pytest
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseFineTuning
from ltsft.sparse.slots import check_slots

SLOT = {"width": 4, "over": {"width": 2, "layers": [0]}}


def model_with(slots):
    model = nn.Linear(1, 1)
    model.adapter_slots = slots
    return model


def sft_with(slots):
    return SparseFineTuning({}, {}, Metadata(slots=slots))


def test_the_same_slot_fits():
    check_slots(model_with({"task": SLOT, "language": {}}), sft_with({"task": SLOT}))
    check_slots(nn.Linear(1, 1), sft_with({}))


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (None, "an adapter slot `task`, but Linear has none"),
        ({"task": {**SLOT, "width": 8}}, "`width` 4 as in training, but it is 8"),
        ({"task": {"width": 4, "over": {"width": 3, "layers": [0]}}}, r"`over.width` 2 .* is 3"),
        ({"task": {**SLOT, "more": 1}}, "`more` None as in training, but it is 1"),
    ],
)
def test_another_does_not(slots, message):
    model = nn.Linear(1, 1) if slots is None else model_with(slots)
    with pytest.raises(LtsftError, match=message):
        check_slots(model, sft_with({"task": SLOT}))
