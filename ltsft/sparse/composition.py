"""Composing several fine-tunings into one, entry by entry.

The plain sum is the paper's composition (Ansell et al., 2022, §3.1), and all that is needed where
fine-tunings touch different entries. Where they meet, the others average (:func:`mean`), let the
majority decide on the sign (:func:`ties`), or thin the differences out first (:func:`dare`).

Every function scales the differences by their weights first. Whole tensors are values, not
differences: they are joined unscaled, and at most one fine-tuning may bring each. Memory is that of
the selected entries; no tensor of a parameter's full size is made.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.delta import SparseDelta
from ltsft.sparse.digest import entries_digest
from ltsft.sparse.fine_tuning import SparseFineTuning
from ltsft.sparse.ranking import select_largest

Sfts = Sequence[SparseFineTuning]
Weights = Sequence[float] | None


def weighted_sum(sfts: Sfts, weights: Weights = None) -> SparseFineTuning:
    """Σ wᵢ φᵢ: the paper's composition, with a factor for each (task arithmetic).

    Ansell et al. (2022), §3.1; Ilharco et al. (2023).

    Args:
        sfts: What to compose; at least one.
        weights: A factor for each; ``None``: 1 for all.

    Example:
        >>> a = SparseFineTuning({"w": SparseDelta((4,), torch.tensor([0, 1]), torch.ones(2))})
        >>> weighted_sum([a, a], [1.0, 2.0]).entries["w"].values.tolist()
        [3.0, 3.0]
    """
    return _compose("sum", sfts, weights, _sum)


def mean(sfts: Sfts, weights: Weights = None) -> SparseFineTuning:
    """Σ wᵢ φᵢ / n at each entry, where n is the number of fine-tunings that selected it.

    An entry that only one has is taken as it is; what several have is averaged, so that a change
    that all of them learned is not made several times.

    Args:
        sfts: What to compose; at least one.
        weights: A factor for each; ``None``: 1 for all.
    """

    def average(deltas: list[SparseDelta]) -> SparseDelta:
        indices, places = _union(deltas)
        total, count = torch.zeros(2, len(indices), dtype=_dtype(deltas))
        for delta, place in zip(deltas, places, strict=True):
            total[place] += delta.values.to(total.dtype)
            count[place] += 1
        return SparseDelta(deltas[0].shape, indices, total / count)

    return _compose("mean", sfts, weights, average)


def ties(sfts: Sfts, weights: Weights = None, density: float = 1.0) -> SparseFineTuning:
    """Trim, elect a sign, and average what agrees with it: TIES (Yadav et al., 2023, Algorithm 1).

    1. *Trim*: each fine-tuning keeps its entries of largest size. They are sparse already, so by
       default all are kept.
    2. *Elect*: each entry's sign is that of the sum of all values there (the greater total mass).
    3. *Disjoint merge*: the mean of the values that have this sign; the others are left out.

    Where positive and negative mass are equal no sign is elected, and the difference is 0.

    Args:
        sfts: What to compose; at least one.
        weights: A factor for each, applied before signs are elected; ``None``: 1 for all.
        density: Share of each fine-tuning's selected entries that trimming keeps.

    Raises:
        LtsftError: If `density` is out of range.
    """

    def agreed(deltas: list[SparseDelta]) -> SparseDelta:
        indices, places = _union(deltas)
        mass, total, count = torch.zeros(3, len(indices), dtype=_dtype(deltas))
        for delta, place in zip(deltas, places, strict=True):
            mass[place] += delta.values.to(mass.dtype)
        elected = mass.sign()
        for delta, place in zip(deltas, places, strict=True):
            agrees = delta.values.sign().to(mass.dtype) == elected[place]
            total[place] += delta.values.to(mass.dtype) * agrees
            count[place] += agrees
        return SparseDelta(deltas[0].shape, indices, total / count.clamp(min=1))

    trimmed = [trim(sft, density) for sft in sfts]
    return _compose("ties", sfts, weights, agreed, trimmed, density=density)


def dare(sfts: Sfts, weights: Weights = None, drop: float = 0.9, seed: int = 0) -> SparseFineTuning:
    """Drop entries at random, rescale the rest, and sum: DARE (Yu et al., 2024).

    Each entry of each fine-tuning is dropped with probability p, and what is left is multiplied by
    1 / (1 - p), so that the sum keeps its expectation while fewer entries meet. The paper combines
    it with other ways of merging too: those functions take what :func:`drop_and_rescale` returns.

    Args:
        sfts: What to compose; at least one.
        weights: A factor for each; ``None``: 1 for all.
        drop: p, at least 0 and below 1.
        seed: Seed of the draws; each fine-tuning has its own.

    Raises:
        LtsftError: If `drop` is out of range.
    """
    generator = torch.Generator().manual_seed(seed)
    thinned = [drop_and_rescale(sft, drop, generator) for sft in sfts]
    return _compose("dare", sfts, weights, _sum, thinned, drop=drop, seed=seed)


def trim(sft: SparseFineTuning, density: float) -> SparseFineTuning:
    """Keep the entries of largest size, over all tensors together.

    Args:
        sft: What to trim.
        density: Share of its selected entries to keep, from 0 to 1; rounded to the nearest count.

    Raises:
        LtsftError: If `density` is out of range.
    """
    if not 0 <= density <= 1:
        raise LtsftError(
            "`density` is expected to be from 0 to 1 (a share of the selected entries), but got "
            f"{density}."
        )
    if density == 1 or not sft.entries:
        return sft
    dtype = _dtype(list(sft.entries.values()))
    sizes = {name: delta.values.to(dtype).abs() for name, delta in sft.entries.items()}
    return _at(sft, select_largest(sizes, round(density * sft.num_params)))


def drop_and_rescale(
    sft: SparseFineTuning, drop: float, generator: torch.Generator
) -> SparseFineTuning:
    """Drop each entry with probability `drop`, and multiply the others by 1 / (1 - `drop`).

    Args:
        sft: What to thin out.
        drop: p, at least 0 and below 1.
        generator: Source of the draws, on the CPU.

    Raises:
        LtsftError: If `drop` is out of range.
    """
    if not 0 <= drop < 1:
        raise LtsftError(
            f"`drop` is expected to be at least 0 and below 1 (a probability), but got {drop}."
        )
    kept = {
        name: torch.rand(len(delta), generator=generator, dtype=torch.float64) >= drop
        for name, delta in sft.entries.items()
    }
    return _at(sft, kept) * (1 / (1 - drop))


METHODS: dict[str, Callable[..., SparseFineTuning]] = {
    "sum": weighted_sum,
    "mean": mean,
    "ties": ties,
    "dare": dare,
}
"""What the command line calls them."""


def _compose(
    method: str,
    sfts: Sfts,
    weights: Weights,
    combine: Callable[[list[SparseDelta]], SparseDelta],
    thinned: Sfts | None = None,
    **settings: Any,
) -> SparseFineTuning:
    """Scale, combine tensor by tensor, and note in the metadata what was done.

    `thinned` are those of `sfts` that are combined, where entries were left out before.
    """
    weights = [1.0] * len(sfts) if weights is None else list(weights)
    if not sfts or len(weights) != len(sfts):
        raise LtsftError(
            "`weights` is expected to have one number for each of one or more fine-tunings, but "
            f"got {len(weights)} for {len(sfts)}."
        )
    # Adding the rest of them checks base models and heads, and joins what the metadata say.
    frame = reduce(add, (replace(sft, entries={}) for sft in sfts))
    scaled = [sft * weight for sft, weight in zip(thinned or sfts, weights, strict=True)]
    entries = {}
    for name in dict.fromkeys(name for sft in scaled for name in sft.entries):
        deltas = [sft.entries[name] for sft in scaled if name in sft.entries]
        _check_shapes(name, deltas)
        entries[name] = combine(deltas)
    about = {
        "method": method,
        **settings,
        "parts": [_about(sft, weight) for sft, weight in zip(sfts, weights, strict=True)],
    }
    extra = frame.metadata.extra | {"composition": about}
    composed = replace(frame, metadata=replace(frame.metadata, extra=extra))
    return composed.with_entries(entries)


def _about(sft: SparseFineTuning, weight: float) -> dict[str, Any]:
    """What the composition's metadata say of one part, which may be a composition itself."""
    facts = {
        "task": sft.metadata.task,
        "language": sft.metadata.language,
        "composition": sft.metadata.extra.get("composition"),
    }
    known = {key: value for key, value in facts.items() if value is not None}
    digest = entries_digest(sft.entries)
    return known | {"num_params": sft.num_params, "weight": weight, "digest": digest}


def _sum(deltas: list[SparseDelta]) -> SparseDelta:
    return reduce(add, deltas)


def _union(deltas: list[SparseDelta]) -> tuple[Tensor, list[Tensor]]:
    """All positions that any has, sorted, and for each of them the places of its own in these.

    A position occurs at most once in each, so sums over them by place are ordered and exact.
    """
    indices, places = torch.cat([delta.indices for delta in deltas]).unique(return_inverse=True)
    return indices, list(places.split([len(delta) for delta in deltas]))


def _dtype(deltas: list[SparseDelta]) -> torch.dtype:
    return reduce(torch.promote_types, (delta.values.dtype for delta in deltas))


def _at(sft: SparseFineTuning, kept: Any) -> SparseFineTuning:
    """The entries at which `kept` (tensor name -> bool, [K]) is True, if there are any."""
    entries = {
        name: SparseDelta(delta.shape, delta.indices[kept[name]], delta.values[kept[name]])
        for name, delta in sft.entries.items()
        if kept[name].any()
    }
    return sft.with_entries(entries)


def _check_shapes(name: str, deltas: list[SparseDelta]) -> None:
    shapes = list(dict.fromkeys(tuple(delta.shape) for delta in deltas))
    if len(shapes) > 1:
        raise LtsftError(
            f"`{name}` is expected to have one shape in all fine-tunings, but got "
            f"{' and '.join(map(str, shapes))}; compose what was trained on one base model."
        )
