"""From sub-words to words."""

import torch
from torch import Tensor


def pool_words(hidden: Tensor, word_ids: Tensor, num_words: int) -> Tensor:
    """Average the sub-words of each word.

    The averages are one matrix product with the words' membership: no loop over words, and unlike
    scattering it adds in the same order in every run on a GPU, forwards and backwards. Sums are
    taken in float32 or wider, also under autocast.

    Args:
        hidden: States of the sub-words, [B, T, H].
        word_ids: Index of the word that each sub-word belongs to, [B, T]; sub-words of no word
            (special tokens, padding) have -1. The sub-words of a word need not be neighbours.
        num_words: W, the number of word vectors wanted; at least the highest index plus one.
            Sub-words with a higher index enter no average.

    Returns:
        Vectors of the words, [B, W, H], in the type of `hidden`. A word without sub-words (padding,
        a word that was cut off, a lone control character) has the zero vector, never NaN.

    Example:
        >>> hidden = torch.tensor([[[9.0], [1.0], [3.0], [5.0], [9.0]]])
        >>> pool_words(hidden, torch.tensor([[-1, 0, 0, 2, -1]]), num_words=3).flatten().tolist()
        [2.0, 0.0, 5.0]
    """
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    words = torch.arange(num_words, device=word_ids.device)
    members = (word_ids.unsqueeze(1) == words.unsqueeze(-1)).to(dtype)  # [B, W, T]
    counts = members.sum(-1, keepdim=True).clamp(min=1)  # [B, W, 1]
    # Zero times infinity is NaN: what no word owns must not reach the product.
    hidden_of_words = hidden.masked_fill((word_ids < 0).unsqueeze(-1), 0)
    # Autocast would round both factors to 16 bits.
    with torch.autocast(hidden.device.type, enabled=False):
        sums = members @ hidden_of_words.to(dtype)  # [B, W, H]
    return (sums / counts).to(hidden.dtype)
