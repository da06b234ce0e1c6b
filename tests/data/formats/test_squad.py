"""Questions of SQuAD files: what is in them, and what is wrong with them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ltsft.data.formats.squad import Answer, TextQuestion, parse_question, read_squad
from ltsft.errors import LtsftError

QUESTIONS = [
    TextQuestion("q1", "who?", "Ada saw Bo.", [Answer("Ada", 0), Answer("Ada saw", 0)]),
    TextQuestion("q2", "whom?", "Ada saw Bo.", [Answer("Bo", 8)]),
    TextQuestion("q3", "where?", "in “Łódź”, 1852", [Answer("Łódź", 4)]),
    TextQuestion("q4", "why?", "in “Łódź”, 1852", []),
]


def squad(questions: list[TextQuestion], **changes: Any) -> dict[str, Any]:
    """One article per question."""
    return {
        "version": "1.1",
        "data": [
            {
                "title": "t",
                "paragraphs": [
                    {
                        "context": q.context,
                        "qas": [
                            {
                                "id": q.id,
                                "question": q.question,
                                "answers": [
                                    {"text": a.text, "answer_start": a.start} for a in q.answers
                                ],
                            }
                            | changes
                        ],
                    }
                ],
            }
            for q in questions
        ],
    }


def test_the_first_answer_without_its_blanks() -> None:
    question = TextQuestion("a", "?", "x  yes .", [Answer(" yes ", 2), Answer("x", 0)])
    assert question.answer == Answer("yes", 3)
    assert not question.is_misplaced
    assert TextQuestion("a", "?", "x yes", [Answer("yes", 3)]).is_misplaced
    assert TextQuestion("a", "?", "x yes", [Answer("yes", -3)]).is_misplaced


def test_questions_come_back_as_they_were_written(write: Callable[..., str]) -> None:
    path = write("a.json", json.dumps(squad(QUESTIONS)))
    assert list(read_squad(path)) == QUESTIONS


def test_a_question_is_checked_where_it_is() -> None:
    values = {"id": "a", "question": "?", "answers": [{"text": "x", "answer_start": 0}]}
    assert parse_question("here", values, "x y") == TextQuestion("a", "?", "x y", [Answer("x", 0)])
    with pytest.raises(LtsftError, match="here: `id` is expected to be a string, .* but got 3"):
        parse_question("here", values | {"id": 3}, "x y")
    with pytest.raises(LtsftError, match="here: `question` is .* but got None"):
        parse_question("here", values | {"question": None}, "x y")
    with pytest.raises(LtsftError, match="here: `id` is .* but got None"):
        parse_question("here", ["a"], "x y")
