"""Pairs for inference: balanced, and labelled as a reader finds who takes the sentences apart."""

import re
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from ltsft.data.artificial import Language, family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.data.artificial.lexicon import NOUNS_PER_GROUP


@dataclass(frozen=True)
class Said:
    """What a sentence says: stems as (category, index), and what their endings add."""

    negated: bool
    verb: tuple
    subject: tuple
    object: tuple
    adverb: tuple | None
    oblique: tuple | None


def take_apart(language: Language, text: str) -> Said:
    """Read a clause with one transitive verb.

    By its words and their order alone: noun phrases are runs of words; one with an adposition is
    the oblique, the first of the others the subject, the second the object.
    """
    lexicon, order = language.grammar.lexicon, language.grammar.order
    stems = {
        stem: (category, index)
        for category, words in lexicon.stems.items()
        for index, stem in enumerate(words)
    }
    words = []
    for word in text.removesuffix(" .").split():
        (stem,) = [word[:n] for n in range(1, len(word) + 1) if word[:n] in stems]
        words.append((*stems[stem], word.removeprefix(stem)))
    letters = {
        "article": "d", "demonstrative": "d", "numeral": "d", "adjective": "a", "noun": "n",
        "place": "n", "adposition": "p", "adverb": "b", "negation": "g", "transitive": "v",
    }  # fmt: skip
    shape = "".join(letters[category] for category, _, _ in words)
    noun = "d?a?n" if order.adjective_first else "d?na?"
    oblique = f"p{noun}" if order.prepositions else f"{noun}p"

    def phrase(start: int, end: int) -> tuple:
        plural = lexicon.endings["plural"]
        return tuple(
            (category, index, category == "noun" and rest.startswith(plural))
            for category, index, rest in sorted(words[start:end])
        )

    found: dict[str, list[tuple[int, int]]] = {}
    for match in re.finditer(rf"(?P<oblique>{oblique})|(?P<noun>{noun})", shape):
        found.setdefault(str(match.lastgroup), []).append(match.span())
    subject, obj = found["noun"]
    single = {
        letter: words[shape.index(letter)][:2] if letter in shape else None for letter in "vbg"
    }
    past = words[shape.index("v")][2].startswith(lexicon.endings["past"])
    (place,) = found.get("oblique", [None])
    return Said(
        single["g"] is not None,
        (single["v"], past),
        phrase(*subject),
        phrase(*obj),
        single["b"],
        None if place is None else phrase(*place),
    )


def covers(general: tuple, special: tuple) -> bool:
    """Whether whatever the second phrase is said of, the first is: fewer adjectives, hypernyms."""
    rest = list(special)
    for word in general:
        category, index, plural = word
        below = {word}
        if category == "noun" and index % NOUNS_PER_GROUP == 0:
            below = {(category, index + n, plural) for n in range(NOUNS_PER_GROUP)}
        hits = [other for other in rest if other in below]
        if not hits:
            return False
        rest.remove(hits[0])
    return all(category == "adjective" for category, _, _ in rest)


def follows(premise: Said, hypothesis: Said) -> bool:
    """Whether a statement that is not denied follows from another one."""
    return (
        premise.verb == hypothesis.verb
        and covers(hypothesis.subject, premise.subject)
        and covers(hypothesis.object, premise.object)
        and hypothesis.adverb in (None, premise.adverb)
        and hypothesis.oblique in (None, premise.oblique)
    )


def judge(premise: Said, hypothesis: Said) -> str:
    """The relation of two statements."""
    if premise.negated != hypothesis.negated:
        same = replace(premise, negated=hypothesis.negated) == hypothesis
        return "contradiction" if same else "unexpected"
    if premise.negated:
        premise, hypothesis = hypothesis, premise
    return "entailment" if follows(premise, hypothesis) else "neutral"


@pytest.mark.parametrize("name", WORD_ORDERS)
def test_labels_are_right(name):
    language = family(0)[name]
    for pair in language.pairs(300):
        premise, hypothesis = (
            take_apart(language, pair.premise),
            take_apart(language, pair.hypothesis),
        )
        assert premise != hypothesis
        assert judge(premise, hypothesis) == pair.label, pair


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_labels_are_balanced(split):
    """In each three pairs in a row; in no fixed order; and the hypothesis alone tells little."""
    pairs = family(0)["besku"].pairs(600, split)
    triples = [tuple(pair.label for pair in pairs[n : n + 3]) for n in range(0, 600, 3)]
    assert {frozenset(triple) for triple in triples} == {
        frozenset({"entailment", "neutral", "contradiction"})
    }
    assert len(set(triples)) == 6
    negation = family(0)["besku"].grammar.lexicon.word("negation", 0)
    denied = Counter(pair.label for pair in pairs if negation in pair.hypothesis.split())
    assert all(denied[label] for label in ("entailment", "neutral", "contradiction"))
