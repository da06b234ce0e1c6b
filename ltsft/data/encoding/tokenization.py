"""From words to sub-words, and where the words went."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ltsft.batch import NOWHERE
from ltsft.data.encoding.cache import cached
from ltsft.data.encoding.digest import digest
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenizer import words_need_a_space

if TYPE_CHECKING:
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
        input_ids, word_ids, word_starts = [], [], []
        texts = [[f" {word}" for word in words] for words in sentences] if spaced else sentences
        for start, encoded in encode(
            texts, tokenizer, progress, is_split_into_words=True, max_length=max_length
        ):
            input_ids += encoded["input_ids"]
            for number in range(len(encoded["input_ids"])):
                words = [NOWHERE if w is None else w for w in encoded.word_ids(number)]
                starts = [NOWHERE] * len(sentences[start + number])
                for position, word in reversed(list(enumerate(words))):
                    if word != NOWHERE:
                        starts[word] = position
                word_ids.append(words)
                word_starts.append(starts)
        rows = {"input_ids": input_ids, "word_ids": word_ids, "word_starts": word_starts}
        return {name: Ragged.of(values) for name, values in rows.items()}

    words = digest(part for words in sentences for part in (str(len(words)), *words))
    settings = [tokenizer_digest(tokenizer), str(max_length), *(["spaced"] if spaced else [])]
    return cached_columns(["words", words, *settings], make)


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
    from transformers.utils import logging

    starts = range(0, len(texts), EXAMPLES_AT_ONCE)
    for start in logging.tqdm(
        starts,
        desc="tokenising",
        unit="example",
        unit_scale=EXAMPLES_AT_ONCE,
        delay=SECONDS_BEFORE_A_BAR,
        disable=None if progress else True,  # None: where stderr is no terminal
    ):
        batch = slice(start, start + EXAMPLES_AT_ONCE)
        if pairs is not None:
            options["text_pair"] = list(pairs[batch])
        yield start, tokenizer(list(texts[batch]), truncation=truncation, verbose=False, **options)


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
