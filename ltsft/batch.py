"""The contract of a batch, for all who make one and all who take one.

A batch is a dict of tensors, int64, beside a few plain values. B counts its examples (in question
answering windows, of which a question may have several), T sub-words, W words.

Of every batch:
    - ``language``: code of the one language that all of its examples are in.
    - ``input_ids`` and ``attention_mask`` [B, T]; ``token_type_ids`` [B, T] where the tokenizer
      tells two texts apart by them.

Of words (tagging, parsing):
    - ``word_ids`` [B, T]: number of the word that a sub-word belongs to, or :data:`NOWHERE`.
    - ``word_starts`` [B, W]: position of a word's first sub-word; :data:`NOWHERE` if a length limit
      cut the word off, or the tokenizer leaves nothing of it.
    - ``num_encoded`` [B]: how many of a sentence's words lie within the limit.

Of questions:
    - ``char_starts`` and ``char_ends`` [B, T]: the characters of the text that a sub-word stands
      for; :data:`NOWHERE` where it is not the text's.
    - in evaluation ``questions`` [B], the number of the batch's question that a window is of, with
      ``contexts`` and ``answers``, lists with a text and with the gold answers of each question.

Gold annotation, padded with :data:`PADDING`; :data:`UNKNOWN` where a label is outside the
inventory:
    - ``labels`` [B, T] of tokens to predict, [B, W] of words, or [B] of examples.
    - ``heads`` [B, W], 0 for the root, *i* + 1 for word *i*, :data:`NOWHERE` where not annotated;
      ``relations`` [B, W].
    - ``start_positions`` and ``end_positions`` [B]: first and last sub-word of an answer.

Predictions for words are :data:`NO_ANSWER` where a word was not encoded.
"""

from typing import Any

Batch = dict[str, Any]

PADDING = -100
"""In gold annotation: there is nothing to score. What ``cross_entropy`` of torch ignores."""

UNKNOWN = -1
"""In gold annotation: a label outside the inventory; it is scored, and no prediction is right."""

NOWHERE = -1
"""Of what points to a word, a sub-word, a character or a head: there is none."""

NO_ANSWER = -1
"""In predictions: none was made, since the word was not encoded. It is never right."""

_PADDINGS = {
    "attention_mask": 0,
    "token_type_ids": 0,
    "word_ids": NOWHERE,
    "word_starts": NOWHERE,
    "char_starts": NOWHERE,
    "char_ends": NOWHERE,
}


def padding_of(column: str) -> int:
    """What shorter rows of a column are filled up with; `input_ids` have their tokenizer's.

    Columns that are not named in the contract are taken for gold annotation.

    Example:
        >>> padding_of("word_ids"), padding_of("labels")
        (-1, -100)
    """
    return _PADDINGS.get(column, PADDING)
