"""Exactly the K largest of many scores, without collecting them.

The scores of an mBERT-sized model are 178 million floats; sorting them, or holding them all, costs
gigabytes on every rank. Non-negative floats order like the integers of their bits, so the K-th
largest is found by counting 16 bits at a time: two passes for float32, four for float64, and one to
mark what is selected. The scores are asked for anew in each pass and may be computed a piece at a
time (:class:`Streamed`); what is marked takes a bit an entry.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.bits import pack
from ltsft.sparse.mask import Cut, Mask
from ltsft.sparse.ranks import Ranks


@dataclass(frozen=True)
class Streamed:
    """The scores of one tensor, computed a piece at a time.

    Args:
        piece: Given a first and an end position in row-major order, the scores between, flat.
        shape: Of the tensor.
        dtype: Of the scores.
        device: Where they are computed.
    """

    piece: Callable[[int, int], Tensor]
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    def numel(self) -> int:
        """Number of scores."""
        return self.shape.numel()

    def whole(self) -> Tensor:
        """All of them at once, in the tensor's shape."""
        return self.piece(0, self.numel()).view(self.shape)


Scores = Callable[[], Iterable[tuple[str, Tensor | Streamed]]]

_UNEQUAL = "the scores were not the same in each pass over them"
_DIGIT_BITS = 16
_NUM_DIGITS = 1 << _DIGIT_BITS
_BITS_OF_INFINITY = {torch.float64: 0x7FF << 52} | dict.fromkeys(
    (torch.float32, torch.float16, torch.bfloat16), 0xFF << 23
)
_CHUNK_ENTRIES = 1 << 18  # a megabyte stays in the cache over all that is done with it


def select_largest(
    scores: Scores | Mapping[str, Tensor],
    num_params: int,
    within: Mapping[str, Tensor] | None = None,
    ranks: Ranks | None = None,
) -> Mask:
    """Select exactly `num_params` entries with the largest scores, over all tensors together.

    Ties are broken by position: of equal scores the one in the earlier tensor, and within a tensor
    the one at the smaller row-major position, is selected.

    Args:
        scores: Tensor name -> scores, any shape, non-negative; all float16/bfloat16/float32, or all
            float64, or all int32, or all int64. Either a mapping, or a function that yields the
            pairs anew each time it is called, always in the same order and bit for bit the same;
            these may be :class:`Streamed`.
        num_params: K, from 0 to the number of all entries.
        within: Tensor name -> True where an entry may be selected at all; ``None``: everywhere.
        ranks: The processes that select together, K entries over all of them; ``None``: this alone.
            Where each holds a shard of every tensor, shards follow each other in rank order.

    Returns:
        The mask over this process's entries; over all processes exactly K are True.

    Raises:
        LtsftError: If K is out of range, or a score is negative, NaN or infinite.
        RuntimeError: If a function's scores were not the same each time, bit for bit.

    Example:
        >>> mask = select_largest({"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0])}, 2)
        >>> mask["a"].tolist(), mask["b"].tolist()
        ([False, True], [True])
    """
    if isinstance(scores, Mapping):
        mapping = scores
        scores = mapping.items
    ranks = ranks or Ranks()
    if within is not None:
        return _expand(select_largest(_inside(scores, within), num_params, ranks=ranks), within)

    level = _level(scores, num_params, ranks)
    num_ties = level.num_selected  # left to be selected
    masks, shapes, dtype = {}, {}, torch.float32
    below: float | None = level.below
    for name, score in scores():
        mask = torch.zeros(-(-score.numel() // 8), dtype=torch.uint8, device=score.device)
        num_chosen, num_later = num_ties, 0  # of the ties: in this tensor at most, and after it
        if num_ties and ranks.hold_shards:
            num_here = sum(int((bits == level.bits).sum()) for _, bits in _chunks(score))
            num_before, num_everywhere = ranks.order_ties(num_here)
            num_chosen = min(max(num_ties - num_before, 0), num_here)
            num_later = max(num_ties - num_everywhere, 0)
        for start, bits in _chunks(score):
            if level.num_selected == level.num_entries:
                chosen = bits >= level.bits
            else:
                chosen = bits > level.bits
                if num_chosen:
                    ties = (bits == level.bits).nonzero().flatten()[:num_chosen]
                    chosen[ties] = True
                    num_chosen -= len(ties)
            mask[start // 8 : -(-(start + len(bits)) // 8)] = pack(chosen)
            if level.below is None:
                lower = int(bits.masked_fill(bits >= level.bits, -1).max())
                below = lower if below is None else max(below, lower)
        num_ties = num_later if ranks.hold_shards else num_chosen
        masks[name], shapes[name], dtype = mask, torch.Size(score.shape), score.dtype
    if level.num_selected < level.num_entries:
        below = level.bits
    elif level.below is None:
        below = max((b for b in ranks.of_shards(below) if b is not None), default=None)
    cut = Cut(
        least=_score_of(level.bits, dtype) if num_params else math.inf,
        greatest_left_out=None if below is None or below < 0 else _score_of(below, dtype),
        num_ties=level.num_selected,
    )
    selected = Mask.from_bits(masks, shapes, cut)
    total = int(ranks.sum_counts(torch.tensor(selected.num_selected)))
    if total != num_params:
        raise RuntimeError(f"{total:,} instead of {num_params:,} entries were selected: {_UNEQUAL}")
    return selected


def _inside(scores: Scores, within: Mapping[str, Tensor]) -> Scores:
    """The scores of the entries that may be selected, a vector for each tensor."""

    def inside() -> Iterator[tuple[str, Tensor]]:
        for name, score in scores():
            whole = score.whole() if isinstance(score, Streamed) else score
            yield name, whole[within[name].to(score.device)]

    return inside


def _expand(mask: Mask, within: Mapping[str, Tensor]) -> Mask:
    """A mask over the entries that may be selected as one over all of them."""
    expanded = Mask(
        {
            name: torch.zeros_like(within[name]).masked_scatter(
                within[name], inside.to(within[name].device)
            )
            for name, inside in mask.items()
        }
    )
    expanded.cut = mask.cut
    return expanded


def _score_of(bits: float, dtype: torch.dtype) -> float:
    """The score that has these bits."""
    if not dtype.is_floating_point:
        return bits
    wide = dtype == torch.float64
    integer = torch.tensor(int(bits), dtype=torch.int64 if wide else torch.int32)
    return float(integer.view(torch.float64 if wide else torch.float32))


def ascending(scores: Tensor) -> Tensor:
    """Scores that rank the other way round, the smallest first, exactly.

    Any formula such as 1 / (1 + score) would round different scores to one. The integers of the
    bits are counted down instead; what cannot be ranked becomes negative, and is refused.

    Args:
        scores: Non-negative floats, any shape.

    Example:
        >>> select_largest({"a": ascending(torch.tensor([2.0, 0.0, 1e-30]))}, 2)["a"].tolist()
        [False, True, True]
    """
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    integers = torch.int64 if scores.dtype == torch.float64 else torch.int32
    bits = (scores + 0.0).view(integers)
    return torch.where(bits < 0, -1, _BITS_OF_INFINITY[scores.dtype] - 1 - bits)


@dataclass(frozen=True)
class _Level:
    """The K-th largest score.

    Args:
        bits: Of the score; infinity where nothing is selected.
        num_entries: How many entries have it.
        num_selected: How many of these are among the K.
        below: Bits of the next lower score that there is; ``None``: not known yet.
    """

    bits: float
    num_entries: int
    num_selected: int
    below: int | None


def _level(scores: Scores, num_params: int, ranks: Ranks) -> _Level:
    """Find the K-th largest score by counting digits, the leading ones first."""
    counts, num_bits = _count_leading_digits(scores, ranks)
    counts = ranks.sum_counts(counts)
    num_entries = int(counts.sum())
    if not 0 <= num_params <= num_entries:
        raise LtsftError(
            f"`num_params` is expected to be between 0 and the {num_entries:,} maskable entries, "
            f"but got {num_params:,}; lower the budget (`sparse.budget`) or widen the scope."
        )
    if num_params == 0:
        return _Level(math.inf, 0, 0, None)
    prefix, missing = _digit_of(counts, num_params)
    for shift in range(num_bits - 2 * _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = torch.zeros(_NUM_DIGITS, dtype=torch.int64)
        for _, score in scores():
            for _, bits in _chunks(score):
                high = bits >> shift if shift else bits
                digits = high[(high >> _DIGIT_BITS) == prefix] & (_NUM_DIGITS - 1)
                counts += torch.bincount(digits, minlength=_NUM_DIGITS).cpu()
        counts = ranks.sum_counts(counts)
        digit, missing = _digit_of(counts, missing)
        prefix = (prefix << _DIGIT_BITS) | digit
    lower = counts[:digit].nonzero()
    below = prefix - digit + int(lower[-1]) if len(lower) else None
    return _Level(prefix, int(counts[digit]), missing, below)


def _digit_of(counts: Tensor, rank: int) -> tuple[int, int]:
    """The digit of the entry of a rank (1 is the largest), and its rank among that digit's."""
    at_least = counts.flip(0).cumsum(0).flip(0)  # at_least[d]: entries whose digit is >= d
    if at_least[0] < rank:
        raise RuntimeError(f"an entry of rank {rank:,} was counted and not found again: {_UNEQUAL}")
    digit = int((at_least >= rank).nonzero()[-1])
    return digit, rank - int(at_least[digit] - counts[digit])


def _count_leading_digits(scores: Scores, ranks: Ranks) -> tuple[Tensor, int]:
    """Count the 16 leading bits of all scores, refusing those that cannot be ranked.

    Returns:
        Counts [2¹⁶], and the number of bits of a score.
    """
    counts, widths = torch.zeros(_NUM_DIGITS, dtype=torch.int64), set()
    unranked: str | None = None
    for name, score in scores():
        widths.add(64 if score.dtype in (torch.float64, torch.int64) else 32)
        for _, bits in _chunks(score):
            info = torch.iinfo(bits.dtype)
            # Negative numbers have negative bits; those of NaN exceed infinity's.
            least, greatest = bits.aminmax()
            if least < 0 or greatest >= _BITS_OF_INFINITY.get(score.dtype, info.max):
                unranked = unranked or name
                break
            leading = bits >> (info.bits - _DIGIT_BITS)
            counts += torch.bincount(leading, minlength=_NUM_DIGITS).cpu()
    if len(widths) > 1:
        raise LtsftError("all scores are expected to have one width, but got two.")
    # All ranks are to end, not those alone that hold such a score.
    for name in (name for name in ranks.of_shards(unranked) if name is not None):
        raise LtsftError(
            f"the scores of `{name}` are expected to be finite and not negative, but got NaN, "
            "infinite or negative ones; training has probably diverged: lower the learning rate or "
            "clip gradients (`trainer.gradient_clip_val: 1.0`)."
        )
    return counts, max(widths, default=32)


def _chunks(score: Tensor | Streamed) -> Iterator[tuple[int, Tensor]]:
    """Yield (start, order-preserving integers) of flattened scores, piece by piece."""
    flat = None if isinstance(score, Streamed) else score.detach().flatten()
    for start in range(0, score.numel(), _CHUNK_ENTRIES):
        end = min(start + _CHUNK_ENTRIES, score.numel())
        if isinstance(score, Streamed):
            chunk = score.piece(start, end)
        else:
            assert flat is not None
            chunk = flat[start:end]
        if chunk.dtype in (torch.float16, torch.bfloat16):
            chunk = chunk.float()
        # Adding zero turns -0.0 into 0.0, whose bits are the smallest.
        if chunk.dtype == torch.float32:
            chunk = (chunk + 0.0).view(torch.int32)
        elif chunk.dtype == torch.float64:
            chunk = (chunk + 0.0).view(torch.int64)
        yield start, chunk
