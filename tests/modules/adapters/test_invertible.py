"""The coupling block and its inverse."""

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.modules.adapters.bottleneck import Bottleneck
from ltsft.modules.adapters.invertible import InvertibleAdapter


def adapter(hidden_size=12, dtype=torch.float64, scale=1.0, activation="relu"):
    """Weights large enough to matter: shifts of the size of the input itself."""
    torch.manual_seed(0)
    block = InvertibleAdapter(hidden_size, hidden_size // 4, activation).to(dtype)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return block


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("hidden_size", [12, 13])
def test_the_inverse_inverts(dtype, tolerance, hidden_size):
    """Up to rounding: e + s - s is not e in floating point where |s| exceeds |e|.

    Relative to shifts of size 10, 1e-12 is 500 and 1e-5 some 10 units in the last place.
    """
    block = adapter(hidden_size, dtype)
    e = torch.randn(5, 7, hidden_size, dtype=dtype)
    y = block(e)
    assert (y - e).abs().max() > 1
    torch.testing.assert_close(block.inverse(y), e, rtol=0, atol=tolerance)
    torch.testing.assert_close(block(block.inverse(e)), e, rtol=0, atol=tolerance)


def test_the_formula_entry_by_entry():
    """Against the definition in plain Python, for one vector."""
    block = adapter(4)

    def net(part, z):
        inner = [
            max(0.0, sum(w * v for w, v in zip(row, z, strict=True)) + b)
            for row, b in zip(part.down.weight.tolist(), part.down.bias.tolist(), strict=True)
        ]
        return [
            sum(w * v for w, v in zip(row, inner, strict=True)) + b
            for row, b in zip(part.up.weight.tolist(), part.up.bias.tolist(), strict=True)
        ]

    e = torch.tensor([0.5, -1.5, 2.0, 0.25], dtype=torch.float64)
    first, second = e.tolist()[:2], e.tolist()[2:]
    y1 = [a + s for a, s in zip(first, net(block.f, second), strict=True)]
    y2 = [a + s for a, s in zip(second, net(block.g, y1), strict=True)]
    assert block(e).tolist() == pytest.approx(y1 + y2, abs=1e-12)


def test_a_new_one_is_the_identity_to_the_bit():
    block, e = InvertibleAdapter(12, 3), torch.randn(5, 12)
    assert torch.equal(block(e), e)
    assert torch.equal(block.inverse(e), e)


def test_the_width_is_a_quarter():
    assert InvertibleAdapter.default_width(768) == 192
    assert InvertibleAdapter.default_width(2) == 1


def test_it_computes_in_float32_under_autocast():
    """In bfloat16, with 8 bits, the inverse would be off by more than 1e-3."""
    block = adapter(12, torch.float32)
    e = torch.randn(5, 12)
    expected = block(e)
    with torch.autocast("cpu", torch.bfloat16):
        y = block(e)
        assert torch.equal(y, expected)
        torch.testing.assert_close(block.inverse(y), e, rtol=0, atol=1e-5)


def test_start_of_training():
    """Weights from N(0, 0.02²), five standard errors of the standard deviation; biases 0."""
    torch.manual_seed(0)
    net = Bottleneck(200, 100, 200)
    assert all(not parameter.any() for parameter in net.parameters())
    net.reset_parameters()
    for layer in (net.down, net.up):
        assert layer.weight.std().item() == pytest.approx(0.02, abs=5 * 0.02 / (2 * 20000) ** 0.5)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("name", "at_one"), [("relu", 1.0), ("gelu", 0.8413447), ("gelu_new", 0.8411920)]
)
def test_activations(name, at_one):
    """x·Φ(x) at 1 is the standard normal's Φ(1); the tanh approximation differs in digit four."""
    net = Bottleneck(1, 1, 1, name)
    for layer in (net.down, net.up):
        torch.nn.init.ones_(layer.weight)
    assert net(torch.ones(1)).item() == pytest.approx(at_one, abs=1e-6)
    net(-torch.ones(1))


def test_an_unknown_activation_is_refused():
    with pytest.raises(LtsftError, match="`activation` .* relu, gelu, gelu_new, but got 'swish'"):
        Bottleneck(1, 1, 1, "swish")
