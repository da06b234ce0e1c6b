"""Names of a module's parameters and buffers."""

from collections.abc import Iterator

from torch import Tensor, nn

_COMPILED = "_orig_mod."
"""What ``torch.compile`` puts into the names of what is inside of a module that it wraps."""


def named_parameters(
    module: nn.Module, *, remove_duplicate: bool = True
) -> Iterator[tuple[str, nn.Parameter]]:
    """As ``module.named_parameters``, with the names there are without ``torch.compile``.

    So a fine-tuning that was trained on a compiled model fits the plain one, and the other way
    round.

    Args:
        module: Any module.
        remove_duplicate: Name tied parameters once.
    """
    for name, parameter in module.named_parameters(remove_duplicate=remove_duplicate):
        yield name.replace(_COMPILED, ""), parameter


def named_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """As ``module.named_buffers``, likewise."""
    for name, buffer in module.named_buffers():
        yield name.replace(_COMPILED, ""), buffer


def persistent_buffers(module: nn.Module) -> list[str]:
    """Names of the buffers that are part of a module's state."""
    state = {name.replace(_COMPILED, "") for name in module.state_dict(keep_vars=True)}
    return [name for name, _ in named_buffers(module) if name in state]
