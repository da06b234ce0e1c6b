"""Texts a thousand at a time, and the sub-words of each."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXTS_AT_ONCE = 1000
"""Texts that the tokenizer divides over all cores at a time."""

SECONDS_BEFORE_A_BAR = 2.0

Item = TypeVar("Item")


def portions(texts: Iterable[Item], unit: str, progress: bool) -> Iterator[list[Item]]:
    """Go through what is to be tokenised in portions, with a bar if it takes long.

    Args:
        texts: What there is to tokenise.
        unit: What one of it is called.
        progress: Show a bar.
    """
    from transformers.utils import logging

    waiting = iter(texts)
    with logging.tqdm(
        desc="tokenising",
        unit=unit,
        total=len(texts) if isinstance(texts, Sized) else None,
        delay=SECONDS_BEFORE_A_BAR,
        mininterval=1.0,
        disable=None if progress else True,  # None: where stderr is no terminal
    ) as bar:
        while portion := list(islice(waiting, TEXTS_AT_ONCE)):
            yield portion
            bar.update(len(portion))


def sub_words(texts: list[str], tokenizer: "PreTrainedTokenizerFast") -> Iterator[list[int]]:
    """Ids of the sub-words of each text, special tokens aside, however long it is.

    By the backend itself, which is told to keep no account of characters: that takes 0.7 of the
    time of calling the tokenizer.

    Args:
        texts: Texts.
        tokenizer: A fast tokenizer.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # what the last call left
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
    return (encoding.ids for encoding in encodings)


def special_tokens(tokenizer: "PreTrainedTokenizerFast", text: str) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text.

    Args:
        tokenizer: A fast tokenizer.
        text: Any text; if the tokenizer leaves nothing of it, all are said to be before it.
    """
    encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    if 0 not in special:
        return ids, []
    return ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]
