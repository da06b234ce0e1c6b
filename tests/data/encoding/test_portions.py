"""Sub-words by the backend, judged by calling the tokenizer; special tokens around a text."""

from collections.abc import Callable
from itertools import chain

import pytest

from ltsft.data.encoding.portions import portions, special_tokens, sub_words
from ltsft.data.encoding.tokenizer import add_prefix_space, load_tokenizer
from tests.constructions import CONSTRUCTIONS, train_tokenizer

LINES = [
    "We don't pay 123456 U.S. dollars, do we?",
    "They're here; I'll go at 10:30!",
    "naïve café — 東京 ▁ ½ e\u0301",
]
ODD = ["", " ", "\a", "  two  blanks ", "a<mask>b </s>", "\u2028", "\U0001f600x", "\tI'll\r"]


@pytest.mark.parametrize("make", dict.fromkeys(c.tokenizer for c in CONSTRUCTIONS.values()))
def test_sub_words_are_those_of_calling_the_tokenizer(make):
    """Whatever it is made of, and whatever the last call has left; one text at a time and all."""
    tokenizer = train_tokenizer(make, LINES * 3)
    add_prefix_space(tokenizer)
    texts = [*LINES, *ODD, " ".join(LINES * 40)]
    for splits in (False, True):
        tokenizer.split_special_tokens = splits
        expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        tokenizer(
            texts, truncation=True, max_length=4, padding=True, split_special_tokens=not splits
        )
        assert list(sub_words(texts, tokenizer)) == expected
    assert len(expected[-1]) > 128


def test_special_tokens(make_tokenizer: Callable[..., str]) -> None:
    tokenizer = load_tokenizer(make_tokenizer(1), 6)
    ids = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
    assert special_tokens(tokenizer, "a") == special_tokens(tokenizer, "abc d") == ids
    assert special_tokens(tokenizer, "\a") == ([*ids[0], *ids[1]], [])


@pytest.mark.parametrize("number", [0, 1, 1000, 2001])
def test_portions_are_all_there_is_in_order(number: int) -> None:
    texts = list(map(str, range(number)))
    parts = list(portions(iter(texts), "text", progress=False))
    assert list(chain.from_iterable(parts)) == texts
    assert all(0 < len(part) <= 1000 for part in parts)
