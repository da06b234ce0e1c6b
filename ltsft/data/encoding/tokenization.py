"""From texts and pairs of texts to sub-words."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ltsft.data.encoding.cache import cached
from ltsft.data.encoding.digest import digest
from ltsft.data.encoding.portions import portions
from ltsft.data.encoding.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast
    from transformers.tokenization_utils_base import BatchEncoding

Columns = dict[str, Ragged]
"""Whole numbers of all examples, by what they are."""


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

    texts = digest(part for texts in examples for part in (str(len(texts)), *texts))
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
    for numbers in portions(range(len(texts)), "example", progress):
        batch = slice(numbers[0], numbers[-1] + 1)
        if pairs is not None:
            options["text_pair"] = list(pairs[batch])
        yield (
            batch.start,
            tokenizer(list(texts[batch]), truncation=truncation, verbose=False, **options),
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
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # what the last call left; each call sets its own
    backend.no_padding()
    return digest([backend.to_str(), *map(str, tokenizer.all_special_tokens)])
