"""From tokenised sentences of unequal length to batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ltsft.data.labels import PADDING_LABEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NO_START = -1
"""In `word_starts`: the word was cut off, has no sub-word, or is padding."""


class TokenizedSentence(NamedTuple):
    """Sub-words of a sentence and where its words begin.

    Args:
        input_ids: Token ids [T].
        word_starts: Position of each word's first sub-word [W], -1 if it has none.
    """

    input_ids: Tensor
    word_starts: Tensor


def tokenize_words(
    sentences: Iterable[list[str]], tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> list[TokenizedSentence]:
    """Tokenise sentences whose words are given.

    A word's position is -1 if `max_length` cut it off, or if the tokenizer leaves nothing of it (a
    lone control character).

    Args:
        sentences: Words of each sentence.
        tokenizer: A fast tokenizer.
        max_length: Sub-words to keep, special tokens included.
    """
    batch = list(sentences)
    encoded = tokenizer(batch, is_split_into_words=True, truncation=True, max_length=max_length)
    tokenized = []
    for number, words in enumerate(batch):
        starts = [NO_START] * len(words)
        for position, word in enumerate(encoded.word_ids(number)):
            if word is not None and starts[word] == NO_START:
                starts[word] = position
        ids = torch.tensor(encoded["input_ids"][number], dtype=torch.long)
        tokenized.append(TokenizedSentence(ids, torch.tensor(starts, dtype=torch.long)))
    return tokenized


@dataclass
class TaggingCollator:
    """Makes batches of tagged sentences.

    Args:
        source: Language code that every batch carries.
        pad_token_id: What `input_ids` are padded with.
    """

    source: str
    pad_token_id: int

    def __call__(self, items: list[tuple[TokenizedSentence, Tensor]]) -> dict[str, Any]:
        """Pad sentences to the longest.

        Args:
            items: Sentence, and label id of each of its words [W].

        Returns:
            `input_ids` and `attention_mask` [B, T]; `word_starts` [B, W], padded with -1; `labels`
            [B, W], padded with -100; all int64; `source`.
        """
        ids = [sentence.input_ids for sentence, _ in items]
        lengths = torch.tensor([len(row) for row in ids])
        # By length, not by `ids != pad`: text may contain the padding token.
        attended = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": attended.long(),
            "word_starts": pad_sequence(
                [sentence.word_starts for sentence, _ in items],
                batch_first=True,
                padding_value=NO_START,
            ),
            "labels": pad_sequence(
                [labels for _, labels in items], batch_first=True, padding_value=PADDING_LABEL
            ),
            "source": self.source,
        }
