"""From the trained module to the sparse fine-tuning."""

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from ltsft import __version__
from ltsft.callbacks.weights import TrainedWeights
from ltsft.sparse import Freezer, Mask, Metadata, SparseFineTuning
from ltsft.sparse.scope import tied_names


def difference(
    weights: TrainedWeights,
    initial: Mapping[str, Tensor],
    mask: Mask,
    described: Mapping[str, Any],
    base_digests: dict[str, str],
) -> SparseFineTuning:
    """Take φ = θ² - θ⁰, after a check that nothing else moved.

    Args:
        weights: The trained weights, in their module.
        initial: The same before training.
        mask: The selected entries.
        described: Further fields of :class:`~ltsft.sparse.Metadata`.
        base_digests: Digests of the maskable parameters of the base model.

    Raises:
        RuntimeError: If an unselected entry moved.
    """
    module = weights.module
    parameters = dict(module.named_parameters())
    if moved := Freezer(module, initial, mask).moved():
        raise RuntimeError(f"unselected entries moved in {', '.join(moved)}")
    buffers = {
        name: buffer
        for name, buffer in weights.buffers().items()
        if not torch.equal(buffer, initial[name])
    }
    metadata = Metadata(
        **{
            "base_digests": base_digests,
            "tied": [name for names in tied_names(module).values() for name in names],
            "num_params": mask.num_selected,
            "num_maskable": mask.num_maskable,
            "num_total": sum(parameter.numel() for parameter in parameters.values()),
            "versions": {
                "ltsft": __version__,
                "torch": torch.__version__,
                "lightning": lightning.__version__,
            },
            **described,
        }
    )
    return SparseFineTuning.from_difference(
        module,
        initial,
        mask,
        whole={name: parameters[name] for name in weights.scope.whole} | buffers,
        metadata=metadata,
    )
