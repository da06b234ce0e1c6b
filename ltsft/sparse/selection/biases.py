"""All biases: BitFit."""

import torch

from ltsft.sparse.mask import Mask
from ltsft.sparse.scope import owned_by
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class Biases(Selection):
    """All maskable biases except those of normalisation layers: BitFit as the paper has it.

    Ansell et al. (2022), §4.2, after Ben Zaken et al. (2022): 82,944 entries in a BERT base without
    pooler, 0.047% of mBERT. K follows from the model, no budget is given.
    """

    needs_dense_phase = False
    needs_budget = False

    def select(self, candidates: Candidates, num_params: int = 0) -> Mask:  # noqa: D102
        normalisation = owned_by(candidates.module, "*Norm")
        return Mask(
            {
                name: torch.full_like(
                    parameter,
                    name.split(".")[-1] == "bias" and name not in normalisation,
                    dtype=torch.bool,
                )
                for name, parameter in candidates.parameters()
            }
        )
