"""From words to sub-words, and where the words went."""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ltsft.batch import NOWHERE
from ltsft.data.encoding.cache import cached
from ltsft.data.encoding.digest import digest
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenizer import words_need_a_space

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast
    from transformers.tokenization_utils_base import BatchEncoding

EXAMPLES_AT_ONCE = 1000
"""Texts that the tokenizer divides over all cores at a time."""

SECONDS_BEFORE_A_BAR = 2.0

Columns = dict[str, Ragged]
"""Whole numbers of all examples, by what they are."""


def tokenize_words(
    sentences: Sequence[Sequence[str]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    progress: bool = True,
) -> Columns:
    """Tokenise sentences word by word; what was tokenised before comes from the cache.

    Args:
        sentences: Words of each sentence.
        tokenizer: A fast tokenizer.
        max_length: Sub-words to keep, special tokens included.
        progress: Show a bar if it takes long.

    Returns:
        For each sentence of W words and T sub-words: `input_ids` [T]; `word_ids` [T], the number of
        the word that a sub-word belongs to, -1 for special tokens; `word_starts` [W], the position
        of a word's first sub-word, -1 if `max_length` cut the word off or the tokenizer leaves
        nothing of it (a lone control character).
    """
    spaced = words_need_a_space(tokenizer)

    def make() -> Columns:
        texts = [[f" {word}" for word in words] for words in sentences] if spaced else sentences
        backend = without_limits(tokenizer)
        backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
        input_ids, words, lengths = array("i"), array("i"), []
        for start in _in_thousands(len(texts), progress):
            part = [list(words) for words in texts[start : start + EXAMPLES_AT_ONCE]]
            # Not the fast one, which knows of no words either.
            for encoding in backend.encode_batch(part, is_pretokenized=True):
                ids = encoding.ids
                lengths.append(len(ids))
                input_ids.extend(ids)
                words.extend(NOWHERE if word is None else word for word in encoding.word_ids)
        backend.no_truncation()
        ends = torch.tensor(lengths, dtype=torch.int64).cumsum(0)
        word_ids = torch.tensor(words, dtype=torch.int32)
        return {
            "input_ids": Ragged(torch.tensor(input_ids, dtype=torch.int32), ends),
            "word_ids": Ragged(word_ids, ends.clone()),
            "word_starts": _first_pieces(word_ids, ends, list(map(len, sentences))),
        }

    words = digest(json.dumps(list(words), ensure_ascii=False) for words in sentences)
    settings = [tokenizer_digest(tokenizer), str(max_length), *(["spaced"] if spaced else [])]
    return cached_columns(["words", words, *settings], make)


def _first_pieces(word_ids: Tensor, ends: Tensor, num_words: list[int]) -> Ragged:
    """Where in its sentence each word begins.

    Args:
        word_ids: Number of the word that each sub-word belongs to, sentence after sentence.
        ends: Where in them each sentence ends, [N].
        num_words: Words of each sentence, [N].

    Returns:
        Positions of first sub-words, -1 where there is none.
    """
    ends_of_words = torch.tensor(num_words, dtype=torch.int64).cumsum(0)
    starts = torch.full((sum(num_words),), NOWHERE, dtype=torch.int32)
    begins = torch.diff(word_ids, prepend=torch.tensor([NOWHERE], dtype=torch.int32)) != 0
    begins[ends[:-1][ends[:-1] < len(begins)]] = True  # a sentence of one piece, after another
    at = (begins & (word_ids != NOWHERE)).nonzero().flatten()
    sentence = torch.searchsorted(ends, at, right=True)
    before = torch.cat([ends.new_zeros(1), ends])[sentence]
    words_before = torch.cat([ends.new_zeros(1), ends_of_words])[sentence]
    starts[words_before + word_ids[at]] = (at - before).int()
    return Ragged(starts, ends_of_words)


def tokenize_texts(
    examples: Sequence[Sequence[str]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    progress: bool = True,
) -> Columns:
    """Tokenise single texts or pairs; what was tokenised before comes from the cache.

    Args:
        examples: One or two texts each, all as many as the first one.
        tokenizer: A fast tokenizer.
        max_length: Sub-words to keep, special tokens included. What is too long loses sub-words at
            the end, pairs at that of the longer text, or of both once they are equally long.
        progress: Show a bar if it takes long.

    Returns:
        For each example of T sub-words: `input_ids` [T], and `token_type_ids` [T] if the tokenizer
        has such.
    """

    def make() -> Columns:
        firsts, *seconds = zip(*examples, strict=True)
        rows: dict[str, list[list[int]]] = {}
        for _, encoded in encode(
            firsts,
            tokenizer,
            progress,
            pairs=seconds[0] if seconds else None,
            truncation="longest_first",
            max_length=max_length,
        ):
            for name in {"input_ids", "token_type_ids"} & encoded.keys():
                rows.setdefault(name, []).extend(encoded[name])
        return {name: Ragged.of(values) for name, values in sorted(rows.items())}

    texts = digest(json.dumps(list(texts), ensure_ascii=False) for texts in examples)
    settings = [tokenizer_digest(tokenizer), str(tokenizer.model_input_names), str(max_length)]
    return cached_columns(["texts", texts, *settings], make)


def encode(
    texts: Sequence[object],
    tokenizer: "PreTrainedTokenizerFast",
    progress: bool = True,
    *,
    pairs: Sequence[object] | None = None,
    truncation: bool | str = True,
    **options: object,
) -> "Iterator[tuple[int, BatchEncoding]]":
    """Tokenise many texts on all cores, a thousand at a time, with a bar.

    Args:
        texts: What the tokenizer takes.
        tokenizer: A fast tokenizer.
        progress: Show a bar if it takes long.
        pairs: The second texts of pairs.
        truncation: What to cut where an example is too long, as the tokenizer knows it.
        **options: Options of the tokenizer.

    Yields:
        Number of the first text, and the encoding of it and the next ones.
    """
    for start in _in_thousands(len(texts), progress):
        batch = slice(start, start + EXAMPLES_AT_ONCE)
        if pairs is not None:
            options["text_pair"] = list(pairs[batch])
        yield start, tokenizer(list(texts[batch]), truncation=truncation, verbose=False, **options)


def without_limits(tokenizer: "PreTrainedTokenizerFast") -> "Tokenizer":
    """What is inside of a fast tokenizer, neither cutting nor padding texts.

    Its `encode_batch_fast` leaves out which characters a sub-word stands for, and makes no lists
    that nobody reads.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # what the last call left; each call sets its own
    backend.no_padding()
    return backend


def _in_thousands(number: int, progress: bool) -> Iterator[int]:
    """Every thousandth number below one, with a bar if it takes long."""
    from transformers.utils import logging

    return iter(
        logging.tqdm(
            range(0, number, EXAMPLES_AT_ONCE),
            desc="tokenising",
            unit="example",
            unit_scale=EXAMPLES_AT_ONCE,
            delay=SECONDS_BEFORE_A_BAR,
            disable=None if progress else True,  # None: where stderr is no terminal
        )
    )


def cached_columns(key: list[str], make: Callable[[], Columns]) -> Columns:
    """Columns from the cache, or made and kept; see :func:`~ltsft.data.encoding.cache.cached`."""

    def flat() -> dict[str, Tensor]:
        return {
            f"{name}/{part}": getattr(rows, part)
            for name, rows in make().items()
            for part in ("values", "ends")
        }

    tensors = cached(key, flat)
    names = dict.fromkeys(key.partition("/")[0] for key in tensors)
    return {name: Ragged(tensors[f"{name}/values"], tensors[f"{name}/ends"]) for name in names}


def tokenizer_digest(tokenizer: "PreTrainedTokenizerFast") -> str:
    """A digest of all that decides what a fast tokenizer makes of a text."""
    backend = without_limits(tokenizer)
    return digest([backend.to_str(), *map(str, tokenizer.all_special_tokens)])
