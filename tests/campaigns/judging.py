"""What no file may do, whatever it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError, printable
from ltsft.sparse import SparseFineTuning, composition
from tests.campaigns.models import Models


class Wrong(Exception):
    """What a file did that no file may do."""


def or_refused(do: Callable[[], Any]) -> Any:
    """What it returns, or ``None`` if it says in one line why not."""
    try:
        return do()
    except LtsftError as error:
        text = str(error)
        if printable(text) != text or not 20 < len(text) < 3000:
            raise Wrong(f"its message is no line: {text!r:.300}") from error
        return None


def state_of(model: nn.Module) -> dict[str, Tensor]:
    tied = model.named_parameters(remove_duplicate=False)
    return {name: parameter.detach().clone() for name, parameter in tied}


def check_state(model: nn.Module, expected: dict[str, Tensor], told: str) -> None:
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if bits_of(tensor.detach()) != bits_of(expected[name]):
            raise Wrong(f"{told}: {name}")


def bits_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def numbers_of(tensor: Tensor) -> np.ndarray:
    numbers: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return numbers


def use_otherwise(loaded: SparseFineTuning, models: Models, path: Path) -> None:
    """What is loaded can be shown, saved and added, too."""
    if printable(repr(loaded)) != repr(loaded):
        raise Wrong("its repr has control characters")
    loaded.save(path)
    if SparseFineTuning.load(path) != loaded:
        raise Wrong("saved and loaded, it is another one")
    or_refused(lambda: loaded + models.other)
    or_refused(lambda: composition.ties([loaded.without_whole(), models.other]))
