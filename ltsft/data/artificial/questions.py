"""Questions about short artificial texts, whose answers are spans of them."""

import random
from dataclasses import dataclass
from typing import Literal

from ltsft.data.artificial.grammar import Sentence
from ltsft.data.artificial.meaning import Clause, draw_index, draw_noun_phrase, draw_oblique

Relation = Literal["nsubj", "obj", "obl"]
RELATIONS: tuple[Relation, ...] = ("nsubj", "obj", "obl")
"""What is asked for: the subject, the object, or what an adposition adds to the verb."""


@dataclass(frozen=True)
class Question:
    """A question that a text answers.

    Args:
        question: What is asked.
        context: The text.
        answer: The span of the text that answers it.
        start: Where it begins in the text, in characters.
    """

    question: str
    context: str
    answer: str
    start: int


def draw_text(rng: random.Random) -> tuple[list[Clause], int]:
    """Three clauses in random order, of which one has all phrases, and the number of that one.

    The others have a subject only. Whoever finds all phrases, but does not understand the question,
    is right in one of three cases at best.
    """
    asked = rng.randrange(3)
    return [
        Clause(
            draw_noun_phrase(rng, nouns_only=True, depth=1),
            verb=draw_index(rng, "transitive" if place == asked else "intransitive"),
            object=draw_noun_phrase(rng, nouns_only=True, depth=1) if place == asked else None,
            oblique=draw_oblique(rng, depth=1) if place == asked else None,
            past=rng.random() < 0.4,
        )
        for place in range(3)
    ], asked


def ask(sentences: list[Sentence], asked: int, relation: Relation) -> Question:
    """Ask for a phrase of one sentence by the rest of that sentence.

    Args:
        sentences: The text.
        asked: Number of the sentence, from 0.
        relation: Relation of the phrase to the verb; the sentence has one such phrase.
    """
    sentence = sentences[asked]
    words = sentence.words
    inside = _below(sentence, sentence.relations.index(relation))
    first, last = min(inside), max(inside)  # a phrase has no gaps
    before = sum(len(other.text) + 1 for other in sentences[:asked])
    return Question(
        question=" ".join(words[:first] + words[last + 1 : -1]),  # without the full stop
        context=" ".join(other.text for other in sentences),
        answer=" ".join(words[first : last + 1]),
        start=before + sum(len(word) + 1 for word in words[:first]),
    )


def _below(sentence: Sentence, top: int) -> set[int]:
    """Positions of a word and of all that depends on it."""
    phrase, size = {top}, 0
    while len(phrase) > size:
        size = len(phrase)
        phrase |= {i for i, head in enumerate(sentence.heads) if head - 1 in phrase}
    return phrase
