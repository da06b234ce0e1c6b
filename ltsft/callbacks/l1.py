"""The penalty that draws weights back to where they started."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class L1Penalty:
    """The gradient of J(θ) = λ/N · Σ|θᵢ - θ⁰ᵢ| (Ansell et al., 2022, §3.1), added directly.

    The sum runs over all parameters that train, heads included, and N counts *every* parameter of
    the model, tied weights once: the reading of the authors' code (about 270 million for mBERT with
    its untied output matrix). λ/N ≈ 4e-10 underflows in float16, so it is added to unscaled float32
    gradients, once per optimizer step whatever the accumulation.

    Args:
        module: The module in training.
        names: Its parameters that train.
        initial: Their initial values.
        weight: λ.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Iterable[str],
        initial: Mapping[str, Tensor],
        weight: float,
    ) -> None:
        parameters = dict(module.named_parameters())
        self._pairs = [(parameters[name], initial[name]) for name in names]
        self.num_params = sum(parameter.numel() for parameter in parameters.values())
        self.scale = weight / self.num_params

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add λ/N · sign(θ - θ⁰) to the gradients.

        In the sparse phase unselected entries are bit-equal to θ⁰, so their sign is 0 and they get
        no gradient without any mask.
        """
        for parameter, initial in self._pairs:
            if parameter.grad is not None:
                parameter.grad.add_(torch.sign(parameter - initial), alpha=self.scale)
