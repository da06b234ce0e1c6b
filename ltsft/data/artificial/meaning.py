"""What an artificial sentence says, whatever the language: noun phrases and clauses."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ltsft.data.artificial.lexicon import CONTENT_WORDS, FUNCTION_WORDS

Kind = Literal["noun", "pronoun", "person", "place", "organisation"]
SIZES: Mapping[str, int] = {**FUNCTION_WORDS, **CONTENT_WORDS}

_SKEW = 1.5
"""Exponent that makes the first words of a category more frequent: word i is drawn when
`size * uniform ** skew` falls in [i, i + 1). 1 would be uniform."""


@dataclass(frozen=True)
class NounPhrase:
    """A participant. Words are given by their index in the category.

    Args:
        kind: the category of the head.
        index: the head: a noun, pronoun, first name, place or organisation.
        plural: more than one (nouns only).
        determiner: an article, or a demonstrative where negative: -1 is the first one.
        numeral: how many (nouns only); makes the noun plural.
        adjective: a property (nouns only).
        last_name: second part of a name: of a person, or before an organisation.
        modifier: adposition and noun phrase that depend on the noun.
    """

    kind: Kind
    index: int
    plural: bool = False
    determiner: int | None = None
    numeral: int | None = None
    adjective: int | None = None
    last_name: int | None = None
    modifier: "tuple[int, NounPhrase] | None" = None


@dataclass(frozen=True)
class Clause:
    """A statement. Words are given by their index in the category.

    Args:
        subject: who.
        verb: a transitive verb if there is an object, else an intransitive one; None in a
            statement with a copula.
        object: whom or what.
        predicate: the adjective of a statement with a copula.
        past: the tense.
        auxiliary: an auxiliary verb.
        negated: whether the statement is denied.
        adverb: how.
        oblique: adposition and noun phrase that depend on the verb.
        second: a second statement joined to this one by a conjunction.
        conjunction: the conjunction.
        subordinate: a statement that depends on this one.
        subordinator: 0 makes it a complement, any other an adverbial clause.
    """

    subject: NounPhrase
    verb: int | None = None
    object: NounPhrase | None = None
    predicate: int | None = None
    past: bool = False
    auxiliary: int | None = None
    negated: bool = False
    adverb: int | None = None
    oblique: tuple[int, NounPhrase] | None = None
    second: "Clause | None" = None
    conjunction: int = 0
    subordinate: "Clause | None" = None
    subordinator: int = 0


def draw_index(rng: random.Random, category: str) -> int:
    """A word of the category; the first ones are the most frequent."""
    return int(SIZES[category] * rng.random() ** _SKEW)


def draw_noun_phrase(rng: random.Random, *, nouns_only: bool = False, depth: int = 0) -> NounPhrase:
    """A random participant; `depth` 1 has no modifier."""
    kind = 0.0 if nouns_only else rng.random()
    if kind < 0.62:
        chance = rng.random
        numeral = draw_index(rng, "numeral") if chance() < 0.12 else None
        determiner = None
        if numeral is None and chance() < 0.75:
            determiner = rng.choice((0, 0, 0, 1, 1, -1, -2))
        return NounPhrase(
            "noun",
            draw_index(rng, "noun"),
            plural=numeral is not None or chance() < 0.3,
            determiner=determiner,
            numeral=numeral,
            adjective=draw_index(rng, "adjective") if chance() < 0.3 else None,
            modifier=draw_oblique(rng, depth=1) if depth == 0 and chance() < 0.12 else None,
        )
    if kind < 0.78:
        return NounPhrase("pronoun", draw_index(rng, "pronoun"))
    if kind < 0.9:
        last = draw_index(rng, "last_name") if rng.random() < 0.4 else None
        return NounPhrase("person", draw_index(rng, "first_name"), last_name=last)
    last = draw_index(rng, "last_name") if rng.random() < 0.4 else None
    return NounPhrase("organisation", draw_index(rng, "organisation"), last_name=last)


def draw_oblique(rng: random.Random, depth: int = 0) -> tuple[int, NounPhrase]:
    """An adposition with a place or a noun phrase."""
    adposition = draw_index(rng, "adposition")
    if rng.random() < 0.3:
        return adposition, NounPhrase("place", draw_index(rng, "place"))
    return adposition, draw_noun_phrase(rng, nouns_only=True, depth=depth)


def draw_clause(rng: random.Random, *, depth: int = 0) -> Clause:
    """A random statement; `depth` 1 has no second and no subordinate statement."""
    chance = rng.random
    subject = draw_noun_phrase(rng)
    negated = chance() < 0.12
    if chance() < 0.12:
        return Clause(
            subject, predicate=draw_index(rng, "adjective"), past=chance() < 0.4, negated=negated
        )
    transitive = chance() < 0.65
    joined = chance() if depth == 0 else 1.0
    return Clause(
        subject,
        verb=draw_index(rng, "transitive" if transitive else "intransitive"),
        object=draw_noun_phrase(rng) if transitive else None,
        past=chance() < 0.4,
        auxiliary=draw_index(rng, "auxiliary") if chance() < 0.25 else None,
        negated=negated,
        adverb=draw_index(rng, "adverb") if chance() < 0.25 else None,
        oblique=draw_oblique(rng) if chance() < 0.3 else None,
        second=draw_clause(rng, depth=1) if joined < 0.12 else None,
        conjunction=draw_index(rng, "conjunction"),
        subordinate=draw_clause(rng, depth=1) if 0.12 <= joined < 0.24 else None,
        subordinator=draw_index(rng, "subordinator"),
    )
