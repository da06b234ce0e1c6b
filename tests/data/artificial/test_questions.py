"""Questions: the text without the asked phrase, and the phrase where it is said to be."""

from collections import Counter

import pytest

from ltsft.data.artificial import family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.data.artificial.grammar import Sentence
from ltsft.data.artificial.questions import ask


@pytest.mark.parametrize("name", WORD_ORDERS)
def test_question_and_answer_make_up_a_sentence(name: str) -> None:
    """One of the three of the text; the answer put back where it was gives that sentence."""
    for question in family(0)[name].questions(60):
        context, end = question.context, question.start + len(question.answer)
        assert context[question.start : end] == question.answer
        sentences = [f"{text} ." for text in context.removesuffix(" .").split(" . ")]
        assert len(sentences) == 3
        words = question.question.split()
        assert any(
            " ".join([*words[:gap], question.answer, *words[gap:], "."]) in sentences
            for gap in range(len(words) + 1)
        )


def test_every_phrase_and_every_place_is_asked_for() -> None:
    questions = family(0)["elmu"].questions(300)
    places = Counter(q.context[: q.start].count(" . ") for q in questions)
    assert set(places) == {0, 1, 2}
    assert min(places.values()) > 60


def test_a_phrase_with_all_that_depends_on_it() -> None:
    """`a1 n1 v p2 n2 .`: the oblique takes its adposition along."""
    sentence = Sentence(
        words=["a1", "n1", "v", "p2", "n2", "."],
        tags=["DET", "NOUN", "VERB", "ADP", "NOUN", "PUNCT"],
        heads=[2, 3, 0, 5, 3, 3],
        relations=["det", "nsubj", "root", "case", "obl", "punct"],
        entities=["O"] * 6,
    )
    asked = ask([sentence, sentence], 1, "obl")
    assert (asked.question, asked.answer) == ("a1 n1 v", "p2 n2")
    assert asked.start == len("a1 n1 v p2 n2 . a1 n1 v ")
    assert ask([sentence], 0, "nsubj").answer == "a1 n1"
