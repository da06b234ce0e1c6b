"""Gates between 0 and 1 that are often exactly 0 or 1: the hard concrete distribution.

Louizos et al. (2018), with the stretch and the temperature (1) that Guo et al. (2021) use. With u
uniform, a gate with location α is z = clip(s · (ζ - γ) + γ, 0, 1), where s = sigmoid(logit(u) + α).
All functions work entry by entry on tensors of any shape.
"""

import math

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

LOWER, UPPER = -1.5, 1.5
"""γ and ζ, between which s is stretched before it is clipped to 0 … 1."""

_STRETCH = UPPER - LOWER
_LOCATION_OF_HALF = math.log(-LOWER / UPPER)  # the α at which P(z ≠ 0) is one half
_UNIFORM_MARGIN = 1e-4  # keeps the logit of a draw finite


def sample(alpha: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Turn uniform draws into gates.

    Args:
        alpha: Locations α.
        uniform: Draws from 0 … 1, of a shape to which α is broadcast.

    Returns:
        The gates z, and dz/dα, which is 0 where a gate was clipped.

    Example:
        >>> z, slope = sample(torch.tensor([-9.0, 0.5, 9.0]), torch.tensor([0.5, 0.5, 0.5]))
        >>> z, slope
        (tensor([0.0000, 0.3674, 1.0000]), tensor([0.0000, 0.7050, 0.0000]))
    """
    uniform = uniform.clamp(_UNIFORM_MARGIN, 1 - _UNIFORM_MARGIN)
    s = torch.sigmoid(torch.logit(uniform) + alpha)
    stretched = s * _STRETCH + LOWER
    slope = s * (1 - s) * _STRETCH * ((stretched > 0) & (stretched < 1))
    return stretched.clamp(0, 1), slope


def probability_nonzero(alpha: Tensor) -> Tensor:
    """P(z ≠ 0), whose sum over entries is the expected L0 norm."""
    return torch.sigmoid(alpha - _LOCATION_OF_HALF)


def probability_slope(alpha: Tensor) -> Tensor:
    """The derivative of :func:`probability_nonzero` in α."""
    probability = probability_nonzero(alpha)
    return probability * (1 - probability)


def expectation(alpha: Tensor) -> Tensor:
    """E[z], increasing in α and never exactly 0, so that it ranks gates that are mostly shut too.

    E[z] = ∫₀¹ P(z > t) dt, where P(z > t) = sigmoid(α - logit((t - γ) / (ζ - γ))). The integrand is
    smooth; Gauss-Legendre quadrature with 8 nodes is exact to 1e-9.
    """
    total = torch.zeros_like(alpha)
    for node, weight in zip(*leggauss(8), strict=True):
        s = ((node + 1) / 2 - LOWER) / _STRETCH
        total += weight / 2 * torch.sigmoid(alpha - math.log(s / (1 - s)))
    return total
