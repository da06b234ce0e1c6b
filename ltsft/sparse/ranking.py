"""Exactly the K largest of many scores, without collecting them.

The scores of an mBERT-sized model are 178 million floats; sorting them, or holding them all, costs
gigabytes on every rank. Non-negative floats order like the integers of their bits, so the K-th
largest is found by counting 16 bits at a time: two passes for float32, four for float64. The scores
are asked for anew in each pass and may be computed tensor by tensor.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask

Scores = Callable[[], Iterable[tuple[str, Tensor]]]

_DIGIT_BITS = 16
_CHUNK_ENTRIES = 1 << 22  # bounds the temporary copies that counting and comparing make


def select_largest(scores: Scores | Mapping[str, Tensor], num_params: int) -> Mask:
    """Select exactly `num_params` entries with the largest scores, over all tensors together.

    Ties are broken by position: of equal scores the one in the earlier tensor, and within a tensor
    the one at the smaller row-major position, is selected.

    Args:
        scores: Tensor name -> scores, any shape, non-negative; all float16/bfloat16/float32, or all
            float64, or all int32. Either a mapping, or a function that yields the pairs anew each
            time it is called, always in the same order.
        num_params: K, from 0 to the number of all entries.

    Returns:
        The mask with exactly K entries True.

    Raises:
        LtsftError: If K is out of range, or a score is negative, NaN or infinite.

    Example:
        >>> mask = select_largest({"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0])}, 2)
        >>> mask["a"].tolist(), mask["b"].tolist()
        ([False, True], [True])
    """
    if isinstance(scores, Mapping):
        mapping = scores
        scores = mapping.items

    num_entries, num_bits = _check(scores)
    if not 0 <= num_params <= num_entries:
        raise LtsftError(
            f"`num_params` is expected to be between 0 and the {num_entries:,} maskable entries, "
            f"but got {num_params:,}; lower the budget (`sparse.budget`) or widen the scope."
        )
    if num_params == 0:
        return Mask(
            {n: torch.zeros(s.shape, dtype=torch.bool, device=s.device) for n, s in scores()}
        )

    threshold, num_ties = _threshold(scores, num_params, num_bits)

    masks = {}
    for name, score in scores():
        mask = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
        for start, bits in _chunks(score):
            selected = bits > threshold
            if num_ties:
                ties = (bits == threshold).nonzero().flatten()[:num_ties]
                selected[ties] = True
                num_ties -= len(ties)
            mask[start : start + len(bits)] = selected
        masks[name] = mask.view(score.shape)
    return Mask(masks)


def _threshold(scores: Scores, num_params: int, num_bits: int) -> tuple[int, int]:
    """Find the bits of the K-th largest score, and how many entries equal to it are selected."""
    prefix, missing = 0, num_params
    for shift in range(num_bits - _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = torch.zeros(1 << _DIGIT_BITS, dtype=torch.int64)
        for _, score in scores():
            for _, bits in _chunks(score):
                high = bits >> shift
                if shift + _DIGIT_BITS < num_bits:
                    high = high[(high >> _DIGIT_BITS) == prefix]
                digits = high & ((1 << _DIGIT_BITS) - 1)
                counts += torch.bincount(digits, minlength=len(counts)).cpu()
        at_least = counts.flip(0).cumsum(0).flip(0)  # at_least[d]: entries whose digit is >= d
        digit = int((at_least >= missing).nonzero()[-1])
        missing -= int(at_least[digit] - counts[digit])
        prefix = (prefix << _DIGIT_BITS) | digit
    return prefix, missing


def _chunks(score: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (start, order-preserving integers) of a flattened score tensor, piece by piece."""
    flat = score.detach().flatten()
    for start in range(0, len(flat), _CHUNK_ENTRIES):
        chunk = flat[start : start + _CHUNK_ENTRIES]
        if chunk.dtype in (torch.float16, torch.bfloat16):
            chunk = chunk.float()
        # Adding zero turns -0.0 into 0.0, whose bits are the smallest.
        if chunk.dtype == torch.float32:
            chunk = (chunk + 0.0).view(torch.int32)
        elif chunk.dtype == torch.float64:
            chunk = (chunk + 0.0).view(torch.int64)
        yield start, chunk


def _check(scores: Scores) -> tuple[int, int]:
    """Refuse scores that cannot be ranked; return the number of entries and the bits of each."""
    num_entries, widths = 0, set()
    for name, score in scores():
        num_entries += score.numel()
        widths.add(64 if score.dtype == torch.float64 else 32)
        for start in range(0, score.numel(), _CHUNK_ENTRIES):
            chunk = score.detach().flatten()[start : start + _CHUNK_ENTRIES]
            if not (torch.isfinite(chunk).all() and (chunk >= 0).all()):
                raise LtsftError(
                    f"the scores of `{name}` are expected to be finite and not negative, but got "
                    "NaN, infinite or negative ones; training has probably diverged: lower the "
                    "learning rate or clip gradients (`trainer.gradient_clip_val: 1.0`)."
                )
    if len(widths) > 1:
        raise LtsftError("all scores are expected to have one width, but got float32 and float64.")
    return num_entries, widths.pop() if widths else 32
