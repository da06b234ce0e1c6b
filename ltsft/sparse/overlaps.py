"""How far two sparse fine-tunings touch the same entries."""

from dataclasses import dataclass

import torch

from ltsft.errors import LtsftError
from ltsft.sparse.fine_tuning import SparseFineTuning


@dataclass(frozen=True)
class Overlap:
    """The overlap of two fine-tunings' selected entries.

    Args:
        intersection: Entries that both select, |A ∩ B|.
        smaller: min(|A|, |B|).
        ratio: |A ∩ B| / min(|A|, |B|); symmetric, also for unequal sizes. 0 if either is empty.
        chance: The ratio expected of two random selections, max(|A|, |B|) / N for N maskable
            entries; ``None`` where N is unknown or differs.
    """

    intersection: int
    smaller: int
    ratio: float
    chance: float | None


def overlap(a: SparseFineTuning, b: SparseFineTuning) -> Overlap:
    """Compare which entries two fine-tunings select (Ansell et al., 2022, Appendix E).

    Raises:
        LtsftError: If one of them is no fine-tuning, e.g. a path of one.
    """
    for sft in (a, b):
        if not isinstance(sft, SparseFineTuning):
            raise LtsftError(
                f"`overlap` is expected to be given fine-tunings, but got {sft!r}; load it first "
                "(`SparseFineTuning.from_pretrained(…)`)."
            )
    shared = a.entries.keys() & b.entries.keys()
    intersection = sum(
        int(torch.isin(a.entries[n].indices, b.entries[n].indices, assume_unique=True).sum())
        for n in shared
    )
    smaller, larger = sorted((a.num_params, b.num_params))
    num_maskable = a.metadata.num_maskable
    known = num_maskable and num_maskable == b.metadata.num_maskable
    return Overlap(
        intersection,
        smaller,
        intersection / smaller if smaller else 0.0,
        larger / num_maskable if known and num_maskable else None,
    )
