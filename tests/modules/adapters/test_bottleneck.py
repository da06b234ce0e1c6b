"""The small network of adapters, against its formula."""

import pytest
import torch
from torch.nn import functional as F

from ltsft.errors import LtsftError
from ltsft.modules.adapters.bottleneck import Bottleneck

FORMULAS = {
    "relu": lambda z: z.clamp(min=0),
    "gelu": lambda z: z * 0.5 * (1 + torch.erf(z / 2**0.5)),
    "gelu_new": lambda z: F.gelu(z, approximate="tanh"),
}


@pytest.mark.parametrize("activation", FORMULAS)
def test_it_computes_its_formula(activation):
    torch.manual_seed(0)
    adapter = Bottleneck(6, 3, 5, activation)
    z = torch.randn(2, 7, 6)
    assert not adapter.is_filled()
    assert (adapter(z) == 0).all()
    adapter.reset_parameters()
    assert adapter.is_filled()
    down, up = adapter.down, adapter.up
    hidden = FORMULAS[activation](z @ down.weight.T + down.bias)
    torch.testing.assert_close(adapter(z), hidden @ up.weight.T + up.bias)


def test_an_unknown_activation():
    with pytest.raises(LtsftError, match="`activation` is expected to be one of relu, gelu"):
        Bottleneck(1, 1, 1, "swish")
