"""What this process has of a tensor, where ranks share it out (FSDP2).

``torch.distributed.fsdp.fully_shard`` leaves each rank some consecutive rows of each parameter, of
small ones maybe none. All that is done entry by entry is done on these, as on any tensor; who has
to know where they stand in the whole asks here.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.sparse.names import named_parameters

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


@dataclass(frozen=True, eq=False)
class Shard:
    """This process's entries of a tensor; where nothing is shared out, all of them.

    Args:
        local: They: the tensor itself, or rows of it, in the same memory.
        first: Flat row-major position in the whole tensor of the first of them.
        shape: Of the whole tensor.
        is_part: Whether ranks share the tensor out.

    Example:
        >>> Shard.of(torch.zeros(3, 2)).first
        0
    """

    local: Tensor
    first: int
    shape: torch.Size
    is_part: bool = False

    @classmethod
    def of(cls, tensor: Tensor, name: str = "a parameter") -> "Shard":
        """Look it up.

        Args:
            tensor: Any.
            name: Its name, for the message.

        Raises:
            LtsftError: If it is shared out in another way than row by row over all ranks.
        """
        if not is_sharded(tensor):
            return cls(tensor, 0, tensor.shape)
        mesh = tensor.device_mesh
        by_row = mesh.ndim == 1 and tensor.placements[0].is_shard(0)
        if not by_row or mesh.size() != dist.get_world_size():
            raise LtsftError(
                f"`{name}` is expected to be sharded by rows over all {dist.get_world_size()} "
                f"ranks, but is {tensor.placements} over a mesh of shape {tuple(mesh.shape)}; call "
                "`fully_shard` with a mesh of one dimension and no `shard_placement_fn` "
                "(`trainer.strategy.tensor_parallel_size: 1`)."
            )
        rows_each = -(-tensor.shape[0] // mesh.size())
        first_row = min(mesh.get_local_rank() * rows_each, tensor.shape[0])
        return cls(local(tensor), first_row * tensor.shape[1:].numel(), tensor.shape, True)


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether ranks share a tensor out; nobody has one that did not import what makes them."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Tensor) -> Tensor:
    """This process's entries, in the same memory; a tensor that is not sharded is it itself."""
    return tensor.to_local().detach() if is_sharded(tensor) else tensor


@torch.no_grad()
def gathered(tensor: Tensor) -> Tensor:
    """A tensor's entries of all ranks, without gradients; all ranks have to ask.

    It is as a forward pass makes it: of one tensor at a time, and let go after use.
    """
    return (tensor.full_tensor() if is_sharded(tensor) else tensor).detach()


def num_in_all(tensor: Tensor, number: int) -> int:
    """The sum of numbers that all who share a tensor out say; otherwise what this process says.

    Args:
        tensor: Says who shares it out; all of them have to ask.
        number: Of this rank.
    """
    if not is_sharded(tensor):
        return number
    numbers = torch.tensor([number], device=tensor.device_mesh.device_type)
    dist.all_reduce(numbers, group=tensor.device_mesh.get_group())
    return int(numbers)


def sharded_as(tensor: Tensor, vector: Tensor, length: int) -> Tensor:
    """Let the vectors of all ranks be one, if a tensor is sharded; a norm over it then counts all.

    Args:
        tensor: Says who shares it out.
        vector: This rank's part, [K here].
        length: Of all parts, K.
    """
    if not is_sharded(tensor):
        return vector
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        vector, tensor.device_mesh, tensor.placements, shape=torch.Size([length]), stride=(1,)
    )


def shards(module: nn.Module) -> dict[str, Shard]:
    """The shard of each parameter by its name, tied ones once."""
    reshard(module)
    return {name: Shard.of(parameter, name) for name, parameter in named_parameters(module)}


def reshard(module: nn.Module) -> None:
    """Let go of whole parameters that a forward pass without a backward pass left in a module.

    Until then they hide the shards, and the next pass would compute with them whatever is written
    to these.
    """
    for child in sharing(module):
        child.reshard()  # type: ignore[operator]


def sharing(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that `fully_shard` was called with."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None:
        yield from (child for child in module.modules() if isinstance(child, fsdp.FSDPModule))
