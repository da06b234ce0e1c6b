"""Scores of answers against SQuAD's official rules written anew; best spans against enumeration."""

import math
import random
import string

import pytest
import torch

from ltsft.metrics import AnswerScore, best_spans

PIECES = ["the", "The", "an", "a", "cat", "cats", "Cat", "-", "sat.", "(sat)", "theory", "ä", "  "]


def words_of(text: str) -> list[str]:
    """What the official script compares: no case, ASCII punctuation, English articles, blanks."""
    kept = "".join(" " * 0 if c in string.punctuation else c for c in text.lower())
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def exact(answer: str, gold: str) -> float:
    return float(words_of(answer) == words_of(gold))


def f1(answer: str, gold: str) -> float:
    mine, theirs = words_of(answer), words_of(gold)
    if not mine or not theirs:
        return float(mine == theirs)
    left = list(theirs)
    same = 0
    for word in mine:
        if word in left:
            left.remove(word)
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(mine), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(("name", "rule"), [("exact_match", exact), ("f1", f1)])
def test_scores_are_the_official_ones(name, rule):
    """On random answers, no answer included, in uneven batches merged over two ranks."""
    rng = random.Random(0)

    def text() -> str:
        return " ".join(rng.choices(PIECES, k=rng.randrange(5)))

    questions = [(text(), [text() for _ in range(rng.randrange(4))]) for _ in range(200)]
    ranks = [AnswerScore(name) for _ in range(2)]
    for start in range(0, 200, 7):
        answers, gold = zip(*questions[start : start + 7], strict=True)
        ranks[start % 2].update(answers, gold)
    ranks[0].merge_state(ranks[1])
    expected = [max(rule(answer, g) for g in gold or [""]) for answer, gold in questions]
    assert 0.05 < sum(expected) / 200 < 0.95
    assert ranks[0].compute().item() == pytest.approx(sum(expected) / 200, abs=1e-6)


def test_best_spans_among_all():
    """The best of all spans that are allowed, not too long, and do not end before they start."""
    generator = torch.Generator().manual_seed(0)
    for max_length in (1, 3, 20):
        start, end = torch.randn(2, 30, 9, generator=generator)
        allowed = torch.zeros(30, 9, dtype=torch.bool)
        for row in range(29):  # the last one allows none
            allowed[row, 1 + row % 4 : 5 + row % 5] = True
        found = best_spans(start, end, allowed, max_length)
        for row in range(30):
            spans = {
                (i, j): (start[row, i] + end[row, j]).item()
                for i in range(9)
                for j in range(i, min(i + max_length, 9))
                if allowed[row, i] and allowed[row, j]
            }
            if not spans:
                assert found.scores[row] == -math.inf
                continue
            best = max(spans, key=spans.__getitem__)
            assert (found.starts[row].item(), found.ends[row].item()) == best
            assert found.scores[row].item() == pytest.approx(spans[best])
