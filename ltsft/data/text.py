"""Raw text: from lines to blocks of equal length for masked language modelling."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ltsft.data.encoding.cache import digest
from ltsft.data.encoding.tokenization import SECONDS_BEFORE_A_BAR
from ltsft.data.formats.files import file_digest, numbered_lines
from ltsft.data.source import Source, Table, artificial_language, string_at
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LINES_AT_ONCE = 1000
"""Lines that the tokenizer divides over all cores at a time."""


def read_text(source: Source, role: str, *, key: str) -> Iterator[str]:
    """Read the lines of a corpus one by one; blank ones are left out.

    Args:
        source: Where it is; in a `datasets` table the rows of the column `text`.
        role: What it is for: ``train``, ``validation`` or ``test``.
        key: The option that gave the source, for error messages.

    Raises:
        LtsftError: If there is no such source, it cannot be read, or it has no line.
    """
    lines = _non_blank(_lines(source, role, key))
    first = next(lines, None)
    if first is None:
        raise LtsftError(f"`{key}` is expected to have text, but {source.path} has only blanks.")
    return chain([first], islice(lines, source.limit and source.limit - 1))


def corpus_key(source: Source, role: str, *, key: str) -> list[str]:
    """What tells a corpus from every other one, without going through its lines in Python.

    Args:
        source: Where it is.
        role: What it is for.
        key: The option that gave the source, for error messages.
    """
    if source.is_artificial:
        return [digest(read_text(source, role, key=key))]
    if source.is_plain_file:
        return [file_digest(source.path), str(source.limit)]
    return [Table(source, role, key).fingerprint, source.columns.get("text", "text")]


def _lines(source: Source, role: str, key: str) -> Iterator[str]:
    if source.is_artificial:
        language, count, split = artificial_language(source, role)
        yield from language.text(count, split)  # type: ignore[arg-type]
    elif source.is_plain_file:
        for _, line in numbered_lines(source.path):
            yield line
    else:
        for place, (text,) in Table(source, role, key).rows(text="text"):
            yield string_at(place, "text", text, key)


def _non_blank(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())


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
    key: str,
    min_blocks: int = 1,
    progress: bool = True,
) -> tuple[Tensor, Tensor]:
    """Tokenise a corpus, concatenate it, and cut it into blocks of equal length.

    The tokens that do not fill the last block are left out.

    Args:
        lines: The corpus.
        tokenizer: A fast tokenizer.
        max_length: Length T of a block, the special tokens around it included.
        key: The option that gave the corpus, for error messages.
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
        disable=not progress,
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
        remedy = f"set `data.init_args.max_length` to at most {longest}, or give more text"
        raise LtsftError(
            f"`{key}` is expected to fill {min_blocks} block(s) of {max_length} tokens, but it has "
            f"{len(tokens)} tokens; {remedy if len(tokens) >= min_blocks else 'give more text'}."
        )
    text = torch.tensor(tokens, dtype=torch.int32)[: num_blocks * room].view(num_blocks, room)
    sides = [torch.tensor(ids, dtype=torch.int32).expand(num_blocks, -1) for ids in (before, after)]
    is_text = torch.zeros(max_length, dtype=torch.bool)
    is_text[len(before) : len(before) + room] = True
    return torch.cat([sides[0], text, sides[1]], dim=1), is_text
