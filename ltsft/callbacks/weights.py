"""Copies of the weights that training may change."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ltsft.sparse import Scope


class TrainedWeights:
    """The parameters of a module that train, and its persistent buffers (BatchNorm's statistics).

    Args:
        module: The module.
        scope: Which of its parameters train.
    """

    def __init__(self, module: nn.Module, scope: Scope) -> None:
        self.module = module
        self.scope = scope

    def tensors(self) -> dict[str, Tensor]:
        """The tensors themselves, by name."""
        parameters = dict(self.module.named_parameters())
        trained = {name: parameters[name] for name in self.scope.trained}
        return {name: tensor.detach() for name, tensor in (trained | self.buffers()).items()}

    def copy(self) -> dict[str, Tensor]:
        """Copies of what they are now, by name, on their devices."""
        return {name: tensor.clone() for name, tensor in self.tensors().items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite them."""
        tensors = dict(self.module.named_parameters()) | self.buffers()
        for name, value in weights.items():
            tensors[name].copy_(value)

    def buffers(self) -> dict[str, Tensor]:
        """Persistent buffers by name."""
        persistent = self.module.state_dict(keep_vars=True).keys()
        return {name: b for name, b in self.module.named_buffers() if name in persistent}
