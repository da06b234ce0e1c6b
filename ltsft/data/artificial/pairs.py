"""Pairs of artificial sentences for natural language inference."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ltsft.data.artificial.lexicon import NOUNS_PER_GROUP
from ltsft.data.artificial.meaning import (
    Clause,
    NounPhrase,
    draw_index,
    draw_noun_phrase,
    draw_oblique,
)

Label = Literal["entailment", "neutral", "contradiction"]
LABELS: tuple[Label, ...] = ("entailment", "neutral", "contradiction")

_Edit = Callable[[], Clause]


@dataclass(frozen=True)
class Pair:
    """A premise, a hypothesis and how the second follows from the first."""

    premise: str
    hypothesis: str
    label: Label


def draw_premise(rng: random.Random) -> Clause:
    """One transitive clause between two nouns."""
    chance = rng.random
    return Clause(
        draw_noun_phrase(rng, nouns_only=True, depth=1),
        verb=draw_index(rng, "transitive"),
        object=draw_noun_phrase(rng, nouns_only=True, depth=1),
        past=chance() < 0.4,
        negated=chance() < 0.25,
        adverb=draw_index(rng, "adverb") if chance() < 0.3 else None,
        oblique=draw_oblique(rng, depth=1) if chance() < 0.3 else None,
    )


def draw_hypothesis(rng: random.Random, premise: Clause, label: Label) -> Clause | None:
    """A clause that stands in the relation `label` to the premise.

    Contradiction: the same, but denied (or, if the premise was denied, stated). Entailment: the
    same in more general words; in more special words if the premise is denied (no animal came,
    so no dog came). Neutral: the other way round, or subject and object change places.

    Args:
        rng: where the choice comes from.
        premise: made by `draw_premise`.
        label: the relation wanted.

    Returns:
        The hypothesis, or None if this premise has none of that relation.
    """
    if label == "contradiction":
        return replace(premise, negated=not premise.negated)
    general = (label == "entailment") != premise.negated
    edits = _generalisations(premise) if general else _specialisations(rng, premise)
    if label == "neutral" and premise.object not in (None, premise.subject):
        assert premise.object is not None
        swapped = replace(premise, subject=premise.object, object=premise.subject)
        edits = [*edits, *[lambda: swapped] * max(1, len(edits))]  # half of the neutral pairs
    return rng.choice(edits)() if edits else None


def _generalisations(clause: Clause) -> list[_Edit]:
    edits: list[_Edit] = []
    if clause.adverb is not None:
        edits.append(lambda: replace(clause, adverb=None))
    if clause.oblique is not None:
        edits.append(lambda: replace(clause, oblique=None))
    for phrase, put in _participants(clause):
        if phrase.adjective is not None:
            edits.append(_edit(put, phrase, adjective=None))
        group, member = divmod(phrase.index, NOUNS_PER_GROUP)
        if member > 0:
            hypernym = group * NOUNS_PER_GROUP
            edits.append(_edit(put, phrase, index=hypernym))
    return edits


def _specialisations(rng: random.Random, clause: Clause) -> list[_Edit]:
    edits: list[_Edit] = []
    if clause.adverb is None:
        edits.append(lambda: replace(clause, adverb=draw_index(rng, "adverb")))
    if clause.oblique is None:
        edits.append(lambda: replace(clause, oblique=draw_oblique(rng, depth=1)))
    for phrase, put in _participants(clause):
        if phrase.adjective is None:
            edits.append(_edit(put, phrase, adjective=draw_index(rng, "adjective")))
        if phrase.index % NOUNS_PER_GROUP == 0:
            hyponym = phrase.index + rng.randrange(1, NOUNS_PER_GROUP)
            edits.append(_edit(put, phrase, index=hyponym))
    return edits


def _edit(put: Callable[[NounPhrase], Clause], phrase: NounPhrase, **changes: int | None) -> _Edit:
    """A clause with a changed noun phrase, made when it is chosen."""
    return lambda: put(replace(phrase, **changes))  # type: ignore[arg-type]


def _participants(clause: Clause) -> list[tuple[NounPhrase, Callable[[NounPhrase], Clause]]]:
    """Subject and object, each with a function that puts another one in its place."""
    assert clause.object is not None
    return [
        (clause.subject, lambda phrase: replace(clause, subject=phrase)),
        (clause.object, lambda phrase: replace(clause, object=phrase)),
    ]
