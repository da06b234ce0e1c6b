"""A fixed share of K for each layer or tensor, instead of one global ranking."""

import re
from collections import defaultdict
from typing import Any, Literal

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates

_NUMBERED_LAYER = re.compile(r"^(?:.*?\.)??\d+(?=\.)")


class Quota(Selection):
    """K split over layers (or tensors) in proportion to their size; within each, another selection.

    Pruning layer by layer instead of globally (Frankle and Carbin, 2019, §4, compare the two). Each
    part gets the whole number below its exact share K · nᵢ / N, and what is then left
    of K goes, one entry each, to the parts with the largest remainders (Hamilton's method; of equal
    ones to the earlier part), so that the parts sum to exactly K.

    Args:
        selection: How the entries of each part are chosen.
        by: What gets a share: each ``tensor``, or each ``layer``: the parameters whose names agree
            up to and with the first number (``encoder.layer.3``), and outside of numbered layers
            those of one module (``embeddings.word_embeddings``).

    Raises:
        LtsftError: If the selection implies the number of its entries, as ``Biases`` does.
    """

    def __init__(self, selection: Selection, by: Literal["layer", "tensor"] = "layer") -> None:
        if by not in ("layer", "tensor"):
            raise LtsftError(f"`by` of `Quota` is expected to be `layer` or `tensor`, got {by!r}.")
        if not selection.needs_budget:
            raise LtsftError(
                "`selection` of `Quota` is expected to choose a given number of entries, but "
                f"`{selection}` implies its own."
            )
        self.selection = selection
        self.by = by
        self.looks_at = selection.looks_at
        self.trains_in_dense_phase = selection.trains_in_dense_phase
        self.works_on_shards = selection.works_on_shards

    @property
    def places_weights(self) -> bool:  # noqa: D102
        return self.selection.places_weights

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.selection}, by {self.by})"

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        parts = self._parts(candidates)
        sizes = candidates.sizes()
        shares = split(num_params, [sum(sizes[name] for name in names) for names in parts.values()])
        chosen: dict[str, Any] = {}
        for names, share in zip(parts.values(), shares, strict=True):
            chosen |= self.selection.select(candidates.only(names), share)
        return Mask({name: chosen[name] for name in sizes})

    def describe(self, candidates: Candidates, mask: Mask) -> str:  # noqa: D102
        return f"; in proportion to size from each of {len(self._parts(candidates))} {self.by}s"

    # The wrapped selection sees the dense phase as if it were alone.

    def place(self, candidates: Candidates, training: bool) -> None:  # noqa: D102
        self.selection.place(candidates, training)

    def remove(self, candidates: Candidates) -> None:  # noqa: D102
        self.selection.remove(candidates)

    def observe(self, candidates: Candidates) -> None:  # noqa: D102
        self.selection.observe(candidates)

    def reset(self) -> None:  # noqa: D102
        self.selection.reset()

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return self.selection.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: D102
        self.selection.load_state_dict(state)

    def _parts(self, candidates: Candidates) -> dict[str, list[str]]:
        parts: dict[str, list[str]] = defaultdict(list)
        for name, _ in candidates.parameters():
            parts[name if self.by == "tensor" else layer_of(name)].append(name)
        return parts


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to.

    Example:
        >>> layer_of("bert.encoder.layer.3.output.dense.weight"), layer_of("pooler.dense.bias")
        ('bert.encoder.layer.3', 'pooler.dense')
    """
    numbered = _NUMBERED_LAYER.match(name)
    return numbered[0] if numbered else name.rpartition(".")[0]


def split(total: int, sizes: list[int]) -> list[int]:
    """Split a number in proportion to sizes, by largest remainders.

    Example:
        >>> split(10, [3, 3, 1]), split(0, [0, 0])
        ([4, 4, 2], [0, 0])
    """
    whole = max(sum(sizes), 1)  # of nothing, only nothing can be chosen
    shares = [total * size // whole for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: -(total * sizes[i] % whole))
    for part in by_remainder[: total - sum(shares)]:
        shares[part] += 1
    return shares
