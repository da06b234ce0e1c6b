"""Gates against autograd, simulation and numerical integration."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad

from ltsft.sparse import hard_concrete

ALPHAS = torch.tensor([-12.0, -3.0, -0.7, 0.0, 1e-4, 0.4, 1.6094, 3.0, 5.0, 9.0]).double()


def formula(alpha, uniform):
    """Z as Guo et al. (2021) write it, for autograd; γ = -1.5, ζ = 1.5."""
    s = torch.sigmoid(torch.log(uniform) - torch.log(1 - uniform) + alpha)
    return (s * 3 - 1.5).clamp(0, 1)


def test_gates_and_slopes_are_those_of_autograd():
    uniform = torch.rand(2000, len(ALPHAS), dtype=torch.float64).clamp(1e-4, 0.9999)
    alpha = ALPHAS.clone().requires_grad_().expand_as(uniform)
    expected = formula(alpha, uniform)
    (slope_by_autograd,) = torch.autograd.grad(expected.sum(), alpha)
    z, slope = hard_concrete.sample(alpha.detach(), uniform)
    torch.testing.assert_close(z, expected.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(slope, slope_by_autograd, rtol=0, atol=1e-14)
    assert (z == 0).any()
    assert (z == 1).any()
    assert ((z > 0) & (z < 1)).any()


def test_draws_at_the_edges_are_finite():
    z, slope = hard_concrete.sample(torch.tensor([5.0, 5.0]), torch.tensor([0.0, 1.0]))
    assert z.tolist() == [0.0, 1.0]
    assert torch.isfinite(slope).all()


def test_the_probability_of_an_open_gate_is_what_draws_show():
    """400,000 draws for each α, within five standard errors; and its slope by autograd."""
    uniform = torch.rand(400_000, 1, dtype=torch.float64)
    z, _ = hard_concrete.sample(ALPHAS[1:-1], uniform)
    share = (z > 0).double().mean(0)
    expected = hard_concrete.probability_nonzero(ALPHAS[1:-1])
    error = (expected * (1 - expected) / len(uniform)).sqrt()
    assert ((share - expected).abs() < 5 * error).all()
    alpha = ALPHAS.clone().requires_grad_()
    hard_concrete.probability_nonzero(alpha).sum().backward()
    torch.testing.assert_close(hard_concrete.probability_slope(ALPHAS), alpha.grad)


def test_at_the_published_start_nearly_all_gates_are_open():
    """α = 5: P(z = 0) = 0.0067, and 0.967 of the gates are 1 (σ(5 - ln 5))."""
    alpha = torch.tensor(5.0, dtype=torch.float64)
    assert 1 - hard_concrete.probability_nonzero(alpha).item() == pytest.approx(0.0067, abs=5e-5)
    z, _ = hard_concrete.sample(alpha, torch.rand(200_000, dtype=torch.float64))
    assert (z == 1).double().mean().item() == pytest.approx(0.967, abs=2e-3)


@pytest.mark.parametrize("alpha", ALPHAS.tolist())
def test_the_expectation_is_the_integral_over_the_draw(alpha):
    """Against adaptive integration of z over u, split where the gate is clipped."""

    def z(u):
        s = 1 / (1 + math.exp(-(math.log(u / (1 - u)) + alpha)))
        return min(max(3 * s - 1.5, 0.0), 1.0)

    edges = [1 / (1 + math.exp(alpha)), 1 / (1 + math.exp(alpha - math.log(5)))]
    bounds = [1e-300, *edges, 1 - 1e-16]
    expected = sum(
        quad(z, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pairwise(bounds) if b > a
    )
    got = hard_concrete.expectation(torch.tensor(alpha, dtype=torch.float64)).item()
    assert got == pytest.approx(expected, abs=2e-9)


def test_the_expectation_ranks_gates_that_are_mostly_shut():
    alpha = torch.linspace(-60, 15, 500)
    mean = hard_concrete.expectation(alpha)
    assert (mean > 0).all()
    assert (mean.diff() >= 0).all()
    assert (mean[:400].diff() > 0).all()
