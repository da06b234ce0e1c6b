"""From raw text to blocks of equal length for masked language modelling."""

from array import array
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ltsft.data.encoding.tokenization import SECONDS_BEFORE_A_BAR
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LINES_AT_ONCE = 1000
"""Lines that the tokenizer divides over all cores at a time."""


def special_tokens(tokenizer: "PreTrainedTokenizerFast", text: str) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text.

    Args:
        tokenizer: A fast tokenizer.
        text: Any text of which the tokenizer leaves something.
    """
    encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    return ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]


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
    from transformers.utils import logging

    tokens = array("i")
    sample = ""
    waiting = iter(lines)
    bar = logging.tqdm(
        desc="tokenising",
        unit="line",
        delay=SECONDS_BEFORE_A_BAR,
        mininterval=1.0,
        disable=None if progress else True,  # None: where stderr is no terminal
    )
    while batch := list(islice(waiting, LINES_AT_ONCE)):
        # Not verbose: lines longer than the model takes are cut here, so the warning misleads.
        encoded = tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
        for line, ids in zip(batch, encoded, strict=True):
            tokens.extend(ids)
            sample = sample or (line if ids else "")
        bar.update(len(batch))
    bar.close()
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
    text = torch.tensor(tokens, dtype=torch.int32)[: num_blocks * room].view(num_blocks, room)
    sides = [torch.tensor(ids, dtype=torch.int32).expand(num_blocks, -1) for ids in (before, after)]
    is_text = torch.zeros(max_length, dtype=torch.bool)
    is_text[len(before) : len(before) + room] = True
    return torch.cat([sides[0], text, sides[1]], dim=1), is_text
