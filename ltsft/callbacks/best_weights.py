"""The best weights of one phase."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

Mode = Literal["min", "max"]


class BestWeights:
    """Keeps a copy of the weights that scored best so far, on the CPU.

    A phase has a keeper of its own: ModelCheckpoint would rank dense and sparse weights together.

    Args:
        mode: Whether the least (``min``) or the greatest (``max``) value is best.

    Attributes:
        value: The best value; ``None`` before there is any.
        weights: Those that had it first.
        num_since: Number of values since then.
        num_equal: Number of values that were the best one.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.value: float | None = None
        self.weights: dict[str, Tensor] = {}
        self.num_since = 0
        self.num_equal = 0

    def offer(self, value: float, weights: Mapping[str, Tensor]) -> bool:
        """Keep `weights` if `value` is better than any before; the earlier of equals stays.

        Args:
            value: The monitored metric; NaN is never best.
            weights: Tensors by name, the same names and shapes each time; copied if kept.

        Returns:
            Whether they were kept.
        """
        better = not math.isnan(value) and (
            self.value is None or (value < self.value if self.mode == "min" else value > self.value)
        )
        self.num_since = 0 if better else self.num_since + 1
        self.num_equal = 1 if better else self.num_equal + (value == self.value)
        if better:
            self.value = value
            for name, tensor in weights.items():
                # In the same memory each time: new pages cost more than what is written to them.
                if name not in self.weights:
                    self.weights[name] = torch.empty_like(tensor, device="cpu")
                self.weights[name].copy_(tensor.detach())
        return better

    @property
    def is_newest(self) -> bool:
        """Whether the weights offered last are the best; also where none were offered."""
        return self.num_since == 0

    @property
    def num_all_equal(self) -> int:
        """Number of values from the best one on, if all of them were the same, else 0."""
        return self.num_equal if self.num_equal == self.num_since + 1 else 0

    def state_dict(self) -> dict[str, Any]:
        """Value, weights, and validations since, as tensors and primitives."""
        counts = {"num_since": self.num_since, "num_equal": self.num_equal}
        return {"value": self.value, "weights": self.weights, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.value, self.num_since = state["value"], state["num_since"]
        self.num_equal = state["num_equal"]
        self.weights = {name: tensor.cpu() for name, tensor in state["weights"].items()}
