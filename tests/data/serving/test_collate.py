"""Tokenised words and their batches, against what is known of a tokenizer of single letters."""

from collections.abc import Callable

import pytest

from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.data.encoding.words import tokenize_words
from ltsft.data.serving.collate import Collator
from ltsft.data.serving.examples import LanguageExamples


@pytest.mark.parametrize("pad_id", [0, 1])
def test_batch(make_tokenizer: Callable[..., str], pad_id: int) -> None:
    """Words begin where their letters do; cut off and empty words have no beginning.

    Padding is the tokenizer's, and only padding is not attended to.
    """
    tokenizer = load_tokenizer(make_tokenizer(pad_id), max_length=8)
    sentences = [["ab", "\a", "c d", "e"], ["ab", "cde", "fgh", "i", "j"], ["a"]]
    columns = tokenize_words(sentences, tokenizer, max_length=8)
    columns["labels"] = Ragged.of(range(len(words)) for words in sentences)
    examples = LanguageExamples("xx", columns)
    batch = Collator(pad_id)([examples[number] for number in range(3)])
    text = [tokenizer.decode(row, skip_special_tokens=True) for row in batch["input_ids"]]
    assert [row.replace(" ##", "") for row in text] == ["ab c d e", "ab cde f", "a"]
    assert batch["word_starts"].tolist() == [
        [1, -1, 3, 5, -1],
        [1, 3, 6, -1, -1],
        [1, -1, -1, -1, -1],
    ]
    assert batch["word_ids"].tolist() == [
        [-1, 0, 0, 2, 2, 3, -1, -1],
        [-1, 0, 0, 1, 1, 1, 2, -1],
        [-1, 0, -1, -1, -1, -1, -1, -1],
    ]
    assert batch["labels"].tolist() == [
        [0, 1, 2, 3, -100],
        [0, 1, 2, 3, 4],
        [0, -100, -100, -100, -100],
    ]
    assert batch["attention_mask"].tolist() == [[1] * 7 + [0], [1] * 8, [1] * 3 + [0] * 5]
    assert batch["input_ids"][2, 3:].tolist() == [pad_id] * 5
    assert batch["language"] == "xx"


def test_padding_in_the_text_is_attended_to(make_tokenizer: Callable[..., str]) -> None:
    tokenizer = load_tokenizer(make_tokenizer(), max_length=8)
    columns = tokenize_words([["a", "[PAD]", "b"]], tokenizer, max_length=8)
    batch = Collator(0)([LanguageExamples("xx", columns)[0]])
    assert batch["input_ids"][0, 2] == 0
    assert batch["attention_mask"].tolist() == [[1] * 5]
