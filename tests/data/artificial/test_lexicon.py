"""Words of the artificial languages: cognates and endings in the shares that were asked for."""

from itertools import combinations
from math import sqrt

import pytest

from ltsft.data.artificial import family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.data.artificial.lexicon import CONTENT_WORDS, FUNCTION_WORDS, draw_lexicons
from ltsft.errors import LtsftError


def common(one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]]) -> float:
    """Share of the meanings for which two languages have one stem."""
    pairs = [pair for key in one for pair in zip(one[key], other[key], strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


NUM_STEMS = sum(FUNCTION_WORDS.values()) + sum(CONTENT_WORDS.values())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_cognates(share):
    """Two languages have about the product of their shares in common: within 4 deviations."""
    languages = family(7, cognates=share)
    stems = {name: dict(languages[name].grammar.lexicon.stems) for name in languages}
    deviation = sqrt(share**2 * (1 - share**2) / NUM_STEMS)
    for one, other in combinations(stems, 2):
        assert abs(common(stems[one], stems[other]) - share**2) <= 4 * deviation


def test_cognates_of_each_language():
    """Of languages that keep all, and one that keeps none."""
    shares = dict.fromkeys(WORD_ORDERS, 1.0) | {"gurib": 0.0}
    languages = family(7, cognates=shares)
    stems = {name: dict(languages[name].grammar.lexicon.stems) for name in languages}
    for one, other in combinations(stems, 2):
        assert common(stems[one], stems[other]) == ("gurib" not in (one, other))


def test_shared_endings():
    """All, none; the default 0.7 of them: half of 7 · 28 pairs, within 5 deviations."""
    for share in (0.0, 1.0):
        languages = family(7, shared_endings=share)
        for one, other in combinations(languages.values(), 2):
            mine, theirs = one.grammar.lexicon.endings, other.grammar.lexicon.endings
            assert {mine[key] == theirs[key] for key in mine} == {bool(share)}
    names = [f"l{number}" for number in range(7)]
    equal = []
    for seed in range(40):
        lexicons = draw_lexicons(seed, dict.fromkeys(names, 0.5), dict.fromkeys(names, 0.7))
        for one, other in combinations(lexicons.values(), 2):
            equal += [one.endings[key] == other.endings[key] for key in one.endings]
    # Pairs of languages are not independent, hence a generous bound.
    assert sum(equal) / len(equal) == pytest.approx(0.49, abs=0.06)


def test_words_are_equal_only_with_stem_and_endings():
    """No stem is another's beginning, endings within a language differ."""
    languages = family(3)
    stems = {
        stem
        for language in languages.values()
        for words in language.grammar.lexicon.stems.values()
        for stem in words
    }
    assert not any(stem[:length] in stems for stem in stems for length in range(1, len(stem)))
    for language in languages.values():
        endings = list(language.grammar.lexicon.endings.values())
        assert len(set(endings)) == len(endings)
        own = [stem for words in language.grammar.lexicon.stems.values() for stem in words]
        assert len(set(own)) == len(own) == NUM_STEMS


def test_mistakes():
    with pytest.raises(LtsftError, match="`cognates` of alora is expected .* between 0 and 1"):
        family(cognates=1.5)
    with pytest.raises(LtsftError, match="`shared_endings` of alora .* but got -0.1"):
        family(shared_endings=-0.1)
    with pytest.raises(LtsftError, match="`cognates` is expected .*, but got alora"):
        family(cognates={"alora": 0.5})
