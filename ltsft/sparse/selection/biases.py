"""All biases: BitFit."""

import torch

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask
from ltsft.sparse.scope import matched_by
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates

_EXCLUDED = ["type:*Norm", "*pooler.*"]


class Biases(Selection):
    """All maskable biases of the encoder's layers: BitFit as the paper has it.

    Ansell et al. (2022), §4.2, after Ben Zaken et al. (2022): 82,944 entries in a BERT base, 0.047%
    of mBERT. K follows from the model, no budget is given.

    Args:
        exclude: Rules, as in `scope`, for biases that stay. The default leaves out those of
            normalisation layers and of a pooler that came with the checkpoint, which the paper's
            count is without; these two rules may match nothing.

    Raises:
        LtsftError: If another rule matches nothing.
    """

    looks_at = "nothing"
    needs_budget = False
    works_on_shards = True

    def __init__(
        self,
        exclude: list[str] = _EXCLUDED,
    ) -> None:
        self.exclude = list(exclude)

    def __str__(self) -> str:
        settings = "" if self.exclude == _EXCLUDED else f"(exclude={self.exclude})"
        return f"{type(self).__name__}{settings}"

    def select(self, candidates: Candidates, num_params: int = 0) -> Mask:  # noqa: D102
        excluded = self._excluded(candidates)
        return Mask(
            {
                name: torch.full_like(
                    parameter,
                    name.split(".")[-1] == "bias" and name not in excluded,
                    dtype=torch.bool,
                )
                for name, parameter in candidates.parameters()
            }
        )

    def _excluded(self, candidates: Candidates) -> set[str]:
        excluded: set[str] = set()
        for rule in self.exclude:
            hits = matched_by(candidates.module, rule)
            if not hits and rule not in _EXCLUDED:
                raise LtsftError(
                    "`exclude` of `Biases` is expected to hold rules that match parameters, but "
                    f"{rule!r} matches none; correct or remove the rule."
                )
            excluded |= hits
        return excluded
