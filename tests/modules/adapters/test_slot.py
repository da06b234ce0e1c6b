"""A slot's size is that of the modules that fill it."""

import pytest

from ltsft.modules.adapters.bottleneck import Bottleneck
from ltsft.modules.adapters.invertible import InvertibleAdapter
from ltsft.modules.adapters.slot import AdapterSlot


def num_params(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("invertible_width", [None, 4])
def test_number_of_parameters(invertible_width):
    slot = AdapterSlot(16, 3, [0, 1], 5, "relu", invertible_width, invertible_width and "relu")
    expected = 2 * num_params(Bottleneck(16, 5, 16))
    if invertible_width:
        expected += num_params(InvertibleAdapter(16, invertible_width, "relu"))
    assert slot.num_params() == expected


def test_it_survives_json():
    language = AdapterSlot(16, 3, [0, 1], 5, "relu", 4, "relu")
    task = AdapterSlot(16, 3, [0, 1], 8, "gelu", stacking="paper", over=language)
    assert AdapterSlot.from_json(task.to_json()) == task
