"""The penalty that draws weights back to where they started."""

import torch
from torch import Tensor

from ltsft.sparse.holds import Hold, Masked
from ltsft.sparse.shard import local
from ltsft.sparse.ticket import Ticket

# A piece stays in a core's cache from one operation to the next; a GPU has launches to save.
_PIECE_ENTRIES = 1 << 18
_PIECE_ENTRIES_ON_GPU = 1 << 24


@torch.no_grad()
def add_l1_gradient(ticket: Ticket, weight: float, hold: Hold | None = None) -> None:
    """Add the gradient of J(θ) = λ/N · Σ|θᵢ - θ⁰ᵢ| to the gradients (Ansell et al., 2022, §3.1).

    The sum runs over all parameters that train, heads included, and N counts *every* parameter of
    the model, tied weights once: the reading of the authors' code (about 270 million for mBERT with
    its untied output matrix). λ/N ≈ 4e-10 underflows in float16, so it belongs to unscaled float32
    gradients, once per optimizer step whatever the accumulation, before they are clipped.

    Where unselected entries are held they are bit-equal to θ⁰, so their sign is 0 and they get no
    gradient without any mask.

    Args:
        ticket: What is trained, and θ⁰.
        weight: λ.
        hold: How unselected entries are held, if they are.
    """
    scale = weight / ticket.num_total
    for parameter, initial in (hold or Masked()).stepped(ticket):
        if parameter.grad is not None:
            _add_sign(local(parameter.grad), local(parameter), initial, scale)


def _add_sign(gradient: Tensor, parameter: Tensor, initial: Tensor, scale: float) -> None:
    """Add ``scale * sign(parameter - initial)``, all of one shape, without copies of that size."""
    if not all(tensor.is_contiguous() for tensor in (gradient, parameter, initial)):
        gradient.add_(torch.sign(parameter - initial), alpha=scale)
        return
    size = _PIECE_ENTRIES if parameter.device.type == "cpu" else _PIECE_ENTRIES_ON_GPU
    scratch = torch.empty_like(parameter.view(-1)[:size])
    pieces = (tensor.view(-1).split(size) for tensor in (gradient, parameter, initial))
    for onto, now, before in zip(*pieces, strict=True):
        sign = torch.sub(now, before, out=scratch[: len(now)]).sign_()
        onto.add_(sign, alpha=scale)
