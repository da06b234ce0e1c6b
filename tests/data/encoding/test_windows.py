"""Windows of sub-words cover a text; spans of it are found in them."""

import random
from collections.abc import Callable
from itertools import pairwise

import torch
from transformers import AutoTokenizer

from ltsft.data.encoding.windows import locate, shorten, tokenize_windows
from tests.data.test_question_data import random_questions

Make = Callable[..., str]


def test_windows_cover_the_text_and_overlap(make_tokenizer: Make) -> None:
    """Each has the question, all together have every sub-word, neighbours share `stride`."""
    tokenizer = AutoTokenizer.from_pretrained(make_tokenizer())
    questions = random_questions(12, random.Random(0))
    texts = [q.question for q in questions], [q.context for q in questions]
    columns = tokenize_windows(*texts, tokenizer, 20, stride=5, max_question_length=6)
    by_question: dict[int, list[list[tuple[int, int]]]] = {}
    prefix = tokenizer("who ?")["input_ids"]
    for n, (question,) in enumerate(columns["questions"]):
        ids = columns["input_ids"][n].tolist()
        assert len(ids) <= 20
        assert ids[: len(prefix)] == prefix
        spans = [
            (int(a), int(b))
            for a, b in zip(columns["char_starts"][n], columns["char_ends"][n], strict=True)
        ]
        assert set(spans[: len(prefix)]) == {spans[-1]} == {(-1, -1)}
        by_question.setdefault(int(question), []).append(spans[len(prefix) : -1])
    assert list(by_question) == list(range(12))
    for number, windows in by_question.items():
        whole = tokenizer(texts[1][number], add_special_tokens=False, return_offsets_mapping=True)
        assert windows[0] + [s for w in windows[1:] for s in w[5:]] == whole["offset_mapping"]
        for left, right in pairwise(windows):
            assert left[-5:] == right[:5]


def test_answers_within_sub_words() -> None:
    """Blanks before words, answers within one sub-word, several sub-words for one character."""
    # "ab 語d": [CLS] ab ␣語(byte 1) ␣語(byte 2) d [SEP]
    starts, ends = torch.tensor([-1, 0, 2, 2, 4, -1]), torch.tensor([-1, 2, 4, 4, 5, -1])
    assert locate(3, 4, starts, ends) == (2, 3)
    assert locate(3, 5, starts, ends) == (2, 4)
    assert locate(1, 2, starts, ends) == (1, 1)
    assert locate(1, 4, starts, ends) == (1, 3)
    assert locate(4, 6, starts, ends) == (0, 0)
    assert locate(0, 1, starts[:1], ends[:1]) == (0, 0)


def test_long_questions_lose_their_end(make_tokenizer: Make) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tokenizer())
    assert shorten(["abcd efgh", "ab", ""], tokenizer, 5) == ["abcd e", "ab", ""]
