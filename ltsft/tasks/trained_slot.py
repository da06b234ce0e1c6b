"""The adapter that a task trains, where it trains one."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters, neighbours, slot_modules
from ltsft.modules.adapters.slot import SlotName
from ltsft.sparse.ledger import base_digests


class TrainedSlot:
    """Makes room for adapters in a model, and sees to it that only one of them trains.

    Everything pretrained that `stays` gets ``requires_grad=False``: under any optimizer, and for
    DDP, it does not take part.

    Args:
        model: The pretrained model with its head, without any fine-tuning; changed in place.
        adapters: The options.
        name: The slot to be trained.
        stays: Whether a parameter of this name is fixed.
    """

    def __init__(
        self, model: nn.Module, adapters: Adapters, name: SlotName, stays: Callable[[str], bool]
    ) -> None:
        for parameter_name, parameter in model.named_parameters():
            if stays(parameter_name):
                parameter.requires_grad_(False)
        self.slots = insert_adapters(model, adapters, name)
        self.name = name
        self._model = model
        self._modules = slot_modules(model, name)
        for other in self.slots.keys() - {name}:
            for module in slot_modules(model, other).values():
                module.requires_grad_(False)
        self.base_digests = base_digests(model, neighbours(model))

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of the slot, by their names in the model."""
        return {
            f"{path}.{name}": parameter
            for path, module in self._modules.items()
            for name, parameter in module.named_parameters()
        }

    def fill(self) -> None:
        """Give the adapter its random start, unless it was filled already, to train it further.

        To be called when training begins: evaluated without one, a model is to be as if it had no
        adapter.
        """
        if not any(bool((parameter != 0).any()) for parameter in self.parameters.values()):
            for module in self._modules.values():
                module.reset_parameters()
        slot, trained = self.slots[self.name], (p for p in self._model.parameters())
        others = sum(p.numel() for p in trained if p.requires_grad) - slot.num_params()
        rank_zero_info(
            f"The adapter of the {self.name} trains: {slot.explain()}. Besides, {others:,} "
            "parameters train outside of adapters; all else is fixed."
        )

    def metadata(self) -> dict[str, Any]:
        """What a fine-tuning says about its adapter; fields of `Metadata`."""
        return {
            "slots": {self.name: self.slots[self.name].to_json()},
            "base_digests": self.base_digests,
        }
