"""Words of the artificial languages: stems and endings of one family."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from ltsft.errors import LtsftError

CONSONANTS = "bdfghjklmnprstvz"
VOWELS = "aeiou"

FUNCTION_WORDS: dict[str, int] = {
    "article": 2,
    "demonstrative": 2,
    "adposition": 5,
    "pronoun": 4,
    "numeral": 4,
    "auxiliary": 3,
    "copula": 1,
    "subordinator": 2,
    "conjunction": 2,
    "negation": 1,
}
"""Stems of each closed category: short words, the same number in every language."""

NOUNS_PER_GROUP = 6
"""A group of nouns is one hypernym (its first noun) and its hyponyms (the others)."""

CONTENT_WORDS: dict[str, int] = {
    "noun": 6 * NOUNS_PER_GROUP,
    "transitive": 12,
    "intransitive": 8,
    "adjective": 14,
    "adverb": 8,
    "first_name": 8,
    "last_name": 6,
    "place": 8,
    "organisation": 6,
}
"""Stems of each open category: longer words, few enough to be learned in seconds."""

ENDINGS = ("plural", "accusative", "past", "present", "agreement", "adjective", "adverb")
"""What a stem is inflected for. Every ending is a vowel and a consonant."""


@dataclass(frozen=True)
class Lexicon:
    """The words of one language.

    Args:
        stems: for each category the stems, so that the same index means the same in all
            languages of a family.
        endings: for each of `ENDINGS` two letters.
    """

    stems: Mapping[str, tuple[str, ...]]
    endings: Mapping[str, str]

    def word(self, category: str, index: int, *endings: str) -> str:
        """One inflected word: the stem and its endings in the given order."""
        return self.stems[category][index] + "".join(self.endings[name] for name in endings)


def draw_lexicons(
    seed: int, cognates: Mapping[str, float], shared_endings: Mapping[str, float]
) -> dict[str, Lexicon]:
    """Draw the words of all languages of a family at once.

    A proto-language is drawn first. Each language keeps a proto-stem with the probability that is
    its share of cognates and otherwise gets a stem of its own, and likewise for endings. No
    stem of the family is the beginning of another one, hence two words are equal only if they have
    the same stem and the same endings: words of different languages are either cognates or
    different.

    Args:
        seed: the family's seed.
        cognates: for each language the share of stems kept from the proto-language, in [0, 1].
        shared_endings: likewise for endings.

    Returns:
        The lexicon of each language of `cognates`, in that order.

    Raises:
        LtsftError: if a share is outside [0, 1].
    """
    for what, shares in (("cognates", cognates), ("shared_endings", shared_endings)):
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise LtsftError(
                    f"`{what}` of {name} is expected to be a share between 0 and 1, but got {share}"
                )
    stems = _Stems(random.Random(f"{seed}/stems"))
    endings = _distinct_endings(random.Random(f"{seed}/endings"), 1 + len(cognates))
    kept = random.Random(f"{seed}/cognates")
    drawn: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in cognates}
    # Closed categories first: short words find room only while few beginnings are taken.
    for sizes, syllables in ((FUNCTION_WORDS, 1), (CONTENT_WORDS, 2)):
        for category, size in sizes.items():
            proto = [stems.new(syllables) for _ in range(size)]
            for name, share in cognates.items():
                drawn[name][category] = tuple(
                    stem if kept.random() < share else stems.new(syllables) for stem in proto
                )
    return {
        name: Lexicon(
            drawn[name],
            {
                ending: variants[0] if kept.random() < shared_endings[name] else variants[number]
                for ending, variants in endings.items()
            },
        )
        for number, name in enumerate(cognates, start=1)
    }


class _Stems:
    """Draws stems none of which is the beginning of another one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._stems: set[str] = set()
        self._beginnings: set[str] = set()

    def new(self, syllables: int) -> str:
        """A stem of consonants and vowels in turn, ending in a consonant."""
        while True:
            draw = self._rng.choice
            stem = "".join(draw(CONSONANTS) + draw(VOWELS) for _ in range(syllables))
            stem += draw(CONSONANTS)
            beginnings = {stem[:length] for length in range(1, len(stem) + 1)}
            if stem not in self._beginnings and not beginnings & self._stems:
                self._stems.add(stem)
                self._beginnings |= beginnings
                return stem


def _distinct_endings(rng: random.Random, variants: int) -> dict[str, list[str]]:
    """For each of `ENDINGS` as many forms as there are variants, all of them different."""
    forms = [vowel + consonant for vowel in VOWELS for consonant in CONSONANTS]
    rng.shuffle(forms)
    return {
        ending: forms[start * variants : (start + 1) * variants]
        for start, ending in enumerate(ENDINGS)
    }
