"""What is said: words within their categories, frequent ones first, no clause without end."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from ltsft.data.artificial.lexicon import CONTENT_WORDS
from ltsft.data.artificial.meaning import (
    SIZES,
    Clause,
    NounPhrase,
    draw_clause,
    draw_index,
    draw_noun_phrase,
)


@pytest.mark.parametrize("category", CONTENT_WORDS)
def test_the_first_words_are_the_most_frequent(category: str) -> None:
    """Word i is drawn with probability ((i + 1) / n)^(2/3) - (i / n)^(2/3); five deviations."""
    rng, size, num = random.Random(0), SIZES[category], 20_000
    counts = Counter(draw_index(rng, category) for _ in range(num))
    assert set(counts) == set(range(size))
    for index in range(size):
        share = ((index + 1) / size) ** (2 / 3) - (index / size) ** (2 / 3)
        deviation = (share * (1 - share) / num) ** 0.5
        assert abs(counts[index] / num - share) <= 5 * deviation


def clauses_in(clause: Clause) -> Iterator[Clause]:
    yield clause
    for other in (clause.second, clause.subordinate):
        if other is not None:
            yield from clauses_in(other)


def test_clauses_are_joined_once() -> None:
    """Two at the most, and what has an object has a verb."""
    rng = random.Random(1)
    drawn = [list(clauses_in(draw_clause(rng))) for _ in range(2000)]
    assert {len(clauses) for clauses in drawn} == {1, 2}
    for clause in (clause for clauses in drawn for clause in clauses):
        assert (clause.verb is None) == (clause.predicate is not None)
        assert clause.object is None or clause.verb is not None


def test_numerals_make_nouns_plural() -> None:
    """And take the article's place; phrases in phrases have none in them."""
    rng = random.Random(2)
    phrases = [draw_noun_phrase(rng) for _ in range(2000)]
    assert {phrase.kind for phrase in phrases} == {"noun", "pronoun", "person", "organisation"}
    counted = [phrase for phrase in phrases if phrase.numeral is not None]
    assert counted
    assert all(phrase.plural and phrase.determiner is None for phrase in counted)
    inner = [phrase.modifier[1] for phrase in phrases if phrase.modifier is not None]
    assert inner
    assert all(isinstance(phrase, NounPhrase) and phrase.modifier is None for phrase in inner)
