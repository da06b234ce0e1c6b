"""From raw text to blocks of equal length for masked language modelling."""

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ltsft.data.encoding.portions import portions, special_tokens, sub_words
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def cut_blocks(
    lines: Iterable[str],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    option: str,
    min_blocks: int = 1,
    progress: bool = True,
) -> tuple[Tensor, Tensor]:
    """Tokenise a corpus, concatenate it, and cut it into blocks of equal length.

    The tokens that do not fill the last block are left out.

    Args:
        lines: The corpus.
        tokenizer: A fast tokenizer.
        max_length: Length T of a block, the special tokens around it included.
        option: The option that names the corpus, for error messages.
        min_blocks: Number of blocks that are needed.
        progress: Show a bar if it takes long.

    Returns:
        Token ids [N, T], int32; and which positions hold text, not special tokens [T], bool.

    Raises:
        LtsftError: If the corpus gives fewer than `min_blocks` blocks.
    """
    tokens = array("i")
    sample = ""
    for portion in portions(lines, "line", progress):
        for line, ids in zip(portion, sub_words(portion, tokenizer), strict=True):
            tokens.fromlist(ids)
            sample = sample or (line if ids else "")
    before, after = special_tokens(tokenizer, sample) if sample else ([], [])
    room = max_length - len(before) - len(after)
    num_blocks = len(tokens) // room
    if num_blocks < min_blocks:
        longest = len(tokens) // min_blocks + len(before) + len(after)
        remedy = "give more text"
        if len(tokens) >= min_blocks:
            remedy = f"set `data.init_args.max_length` to at most {longest}, or give more text"
        raise LtsftError(
            f"`{option}` is expected to fill {min_blocks} block(s) of {max_length} tokens, but it "
            f"has {len(tokens)} tokens; {remedy}."
        )
    # By way of its buffer; torch would look at each number.
    text = torch.from_numpy(np.array(tokens))[: num_blocks * room].view(num_blocks, room)
    sides = [torch.tensor(ids, dtype=torch.int32).expand(num_blocks, -1) for ids in (before, after)]
    is_text = torch.zeros(max_length, dtype=torch.bool)
    is_text[len(before) : len(before) + room] = True
    return torch.cat([sides[0], text, sides[1]], dim=1), is_text
