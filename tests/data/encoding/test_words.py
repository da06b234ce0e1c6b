"""Words to sub-words, judged by the tokenizer asked for one sentence at a time."""

import random
from collections.abc import Callable

import pytest

from ltsft.data.encoding.tokenizer import add_prefix_space, load_tokenizer, words_need_a_space
from ltsft.data.encoding.words import tokenize_words
from tests.constructions import CONSTRUCTIONS, train_tokenizer
from tests.data.encoding.test_portions import LINES, ODD

Make = Callable[..., str]


def random_words(rng: random.Random, num: int) -> list[str]:
    return ["".join(rng.choices("abcde", k=rng.randrange(1, 5))) for _ in range(num)]


def test_words(make_tokenizer: Make) -> None:
    """Also beyond the thousand that are tokenised at a time; what is cut off begins nowhere."""
    tokenizer = load_tokenizer(make_tokenizer(), 12)
    rng = random.Random(0)
    sentences = [random_words(rng, rng.randrange(1, 7)) for _ in range(1203)]
    sentences[5][0] = "\a"
    columns = tokenize_words(sentences, tokenizer, 12, progress=False)
    assert {name: len(rows) for name, rows in columns.items()} == dict.fromkeys(columns, 1203)
    for number in (0, 5, 999, 1000, 1202):
        pieces, word_ids, starts = [], [-1], []
        for position, word in enumerate(sentences[number]):
            letters = [] if word == "\a" else list(word)
            starts.append(1 + len(pieces) if letters and len(pieces) < 10 else -1)
            pieces += [letters[0], *(f"##{letter}" for letter in letters[1:])] if letters else []
            word_ids += [position] * len(letters)
        kept = ["[CLS]", *pieces[:10], "[SEP]"]
        assert tokenizer.convert_ids_to_tokens(columns["input_ids"][number].tolist()) == kept
        assert columns["word_ids"][number].tolist() == [*word_ids[:11], -1]
        assert columns["word_starts"][number].tolist() == starts


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [3, 7, 128])
@pytest.mark.parametrize("make", dict.fromkeys(c.tokenizer for c in CONSTRUCTIONS.values()))
def test_sentences_are_those_of_calling_the_tokenizer(make, max_length, side):
    """Whatever it is made of, with odd words and odd sentences, and wherever it cuts."""
    tokenizer = train_tokenizer(make, LINES * 3)
    add_prefix_space(tokenizer)
    tokenizer.truncation_side = side
    words = [*" ".join(LINES).split(), *ODD, "New York"]
    rng = random.Random(0)
    sentences = [rng.choices(words, k=rng.randrange(30)) for _ in range(100)]
    sentences += [[], ["\a"], ["", "x", ""], words]
    space = " " * words_need_a_space(tokenizer)
    columns = tokenize_words(sentences, tokenizer, max_length, progress=False)
    assert {len(rows) for rows in columns.values()} == {len(sentences)}
    for number, sentence in enumerate(sentences):
        alone = tokenizer(
            [[space + word for word in sentence]],
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
        )
        owners = alone.word_ids(0)
        assert columns["input_ids"][number].tolist() == alone["input_ids"][0]
        assert columns["word_ids"][number].tolist() == [-1 if w is None else w for w in owners]
        assert columns["word_starts"][number].tolist() == [
            owners.index(word) if word in owners else -1 for word in range(len(sentence))
        ]


@pytest.mark.parametrize("sentences", [[], [[]], [["\a"], []], [["\a", "a", "\a"]]])
def test_sentences_of_which_nothing_is_left(
    make_tokenizer: Make, sentences: list[list[str]]
) -> None:
    tokenizer = load_tokenizer(make_tokenizer(), 12)
    columns = tokenize_words(sentences, tokenizer, 12, progress=False)
    ids = [[tokenizer(" ".join(words))["input_ids"]] for words in sentences]
    assert [[row.tolist()] for row in columns["input_ids"]] == ids
    assert [len(row) for row in columns["word_starts"]] == [len(words) for words in sentences]
