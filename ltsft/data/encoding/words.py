"""From words to sub-words, and where the words went."""

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ltsft.batch import NOWHERE
from ltsft.data.encoding.digest import digest
from ltsft.data.encoding.portions import portions, special_tokens, sub_words
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns, cached_columns, tokenizer_digest
from ltsft.data.encoding.tokenizer import words_need_a_space

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tokenize_words(
    sentences: Sequence[Sequence[str]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    progress: bool = True,
) -> Columns:
    """Tokenise sentences word by word; what was tokenised before comes from the cache.

    A word given alone has the same sub-words in every sentence, so each is tokenised once.

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
        numbers: dict[str, int] = {}
        words = Ragged.of(
            [numbers.setdefault(word, len(numbers)) for word in sentence] for sentence in sentences
        )
        pieces = Ragged.of(
            ids
            for portion in portions(numbers, "word", progress)
            for ids in sub_words([f" {w}" for w in portion] if spaced else portion, tokenizer)
        )
        some = next((w for w, length in zip(numbers, pieces.lengths, strict=True) if length), "")
        sides = special_tokens(tokenizer, f" {some}" if spaced else some)
        return _assemble(words, pieces, sides, max_length, tokenizer.truncation_side == "left")

    lengths = (array("q", map(len, words)).tobytes() for words in sentences)
    texts = ("".join(words) for words in sentences)
    key = digest(part for pair in zip(lengths, texts, strict=True) for part in pair)
    settings = [tokenizer_digest(tokenizer), str(max_length), *(["spaced"] if spaced else [])]
    return cached_columns(["words", key, *settings], make)


def _assemble(
    words: Ragged,
    pieces: Ragged,
    sides: tuple[list[int], list[int]],
    max_length: int,
    from_the_end: bool,
) -> Columns:
    """Put sentences together.

    Args:
        words: Numbers of the words of each sentence.
        pieces: Sub-words of the word of each number.
        sides: Special tokens before and after a sentence.
        max_length: Sub-words to keep, special tokens included.
        from_the_end: Whether those are the last ones.
    """
    before, after = sides
    room = max_length - len(before) - len(after)
    words_of, numbers = words.lengths.numpy(), words.values.numpy()
    pieces_of, ids = pieces.lengths.numpy(), pieces.values.numpy()
    # Of every word its sentence; of every sub-word its word, that word's sentence, and its place.
    sentence_of_word = np.repeat(np.arange(len(words_of)), words_of)
    num_pieces = pieces_of[numbers]
    word = np.repeat(np.arange(len(numbers)), num_pieces)
    sentence = sentence_of_word[word]
    totals = np.bincount(sentence, minlength=len(words_of))
    in_word = np.arange(len(word)) - _starts(num_pieces)[word]
    place = np.arange(len(word)) - _starts(totals)[sentence]
    if from_the_end:
        place -= np.maximum(totals - room, 0)[sentence]
    kept = (place >= 0) & (place < room)
    word, sentence, in_word, place = (of[kept] for of in (word, sentence, in_word, place))
    place += len(before)

    lengths = np.minimum(totals, room) + len(before) + len(after)
    starts, ends = _starts(lengths), lengths.cumsum()
    input_ids = np.empty(lengths.sum(), dtype=np.int32)
    for offset, id in enumerate(before):
        input_ids[starts + offset] = id
    for offset, id in enumerate(reversed(after), start=1):
        input_ids[ends - offset] = id
    word_ids = np.full_like(input_ids, NOWHERE)
    position = starts[sentence] + place
    input_ids[position] = ids[_starts(pieces_of)[numbers[word]] + in_word]
    word_ids[position] = (np.arange(len(numbers)) - _starts(words_of)[sentence_of_word])[word]
    word_starts = np.full_like(numbers, NOWHERE)
    is_first = np.diff(word, prepend=NOWHERE) != 0
    word_starts[word[is_first]] = place[is_first]
    columns = {
        "input_ids": (input_ids, ends),
        "word_ids": (word_ids, ends.copy()),  # no file holds one tensor under two names
        "word_starts": (word_starts, words.ends.numpy()),
    }
    return {name: Ragged(*map(torch.from_numpy, parts)) for name, parts in columns.items()}


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where rows that lie one after the other begin."""
    return lengths.cumsum() - lengths
