"""Texts to sub-words, against the tokenizer asked for one example at a time."""

import random
from collections.abc import Callable

from ltsft.data.encoding.tokenization import tokenize_texts, tokenizer_digest
from ltsft.data.encoding.tokenizer import load_tokenizer

Make = Callable[..., str]


def random_words(rng: random.Random, num: int) -> list[str]:
    return ["".join(rng.choices("abcde", k=rng.randrange(1, 5))) for _ in range(num)]


def test_texts(make_tokenizer: Make) -> None:
    """Single ones and pairs, as the tokenizer has each by itself."""
    tokenizer = load_tokenizer(make_tokenizer(), 64)
    rng = random.Random(1)
    pairs = [(" ".join(random_words(rng, 4)), " ".join(random_words(rng, 3))) for _ in range(1100)]
    for texts in (pairs, [pair[:1] for pair in pairs]):
        columns = tokenize_texts(texts, tokenizer, 64, progress=False)
        assert columns.keys() == {"input_ids", "token_type_ids"}
        for number in (0, 999, 1000, 1099):
            alone = tokenizer(*texts[number])
            for name, rows in columns.items():
                assert rows[number].tolist() == alone[name]


def test_a_tokenizer_is_known_by_what_it_does(make_tokenizer: Make) -> None:
    """Not by the last call's length."""
    one, other = (load_tokenizer(make_tokenizer(pad_id), 8) for pad_id in (0, 1))
    before = tokenizer_digest(one)
    one("abc", truncation=True, max_length=3, padding="max_length")
    assert tokenizer_digest(one) == before != tokenizer_digest(other)
