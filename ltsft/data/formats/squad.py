"""Reading questions in the JSON format of SQuAD, whose texts hold the answers.

Rajpurkar et al. (2016); with questions that their text does not answer, Rajpurkar et al. (2018).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ltsft.data.formats.lines import numbered_lines
from ltsft.errors import LtsftError

Value = TypeVar("Value", str, int, list[Any])


class Answer(NamedTuple):
    """A span of a text.

    Args:
        text: What it says.
        start: Where it begins, in characters.
    """

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last one."""
        return self.start + len(self.text)


@dataclass
class TextQuestion:
    """A question about a text.

    Args:
        id: What tells it from all others.
        question: What is asked.
        context: The text.
        answers: Gold answers; none if the text does not answer it (SQuAD 2.0).
    """

    id: str
    question: str
    context: str
    answers: list[Answer]

    @property
    def answer(self) -> Answer | None:
        """The first gold answer; with its blanks cut off, since no sub-word begins with one."""
        if not self.answers:
            return None
        text, start = self.answers[0]
        return Answer(text.strip(), start + len(text) - len(text.lstrip()))

    @property
    def is_misplaced(self) -> bool:
        """Whether the first gold answer is not where it is said to be."""
        answer = self.answer
        if answer is None:
            return False
        return answer.start < 0 or self.context[answer.start : answer.end] != answer.text


def read_squad(path: str | Path) -> Iterator[TextQuestion]:
    """Read the questions of a file ``{"data": [{"paragraphs": [{"context", "qas"}]}]}``.

    Args:
        path: The file, UTF-8, with or without a byte order mark.

    Raises:
        LtsftError: If the file is not UTF-8, no JSON, or not of that form, or has no question.
    """
    text = "\n".join(line for _, line in numbered_lines(path))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise LtsftError(
            f"{path}, line {error.lineno}: the file is expected to be JSON, but at column "
            f"{error.colno}: {error.msg}; save one object per line as *.jsonl."
        ) from error
    empty = True
    for a, article in enumerate(get_as(list, data, "data", str(path))):
        place = f"{path}, data[{a}]"
        for p, paragraph in enumerate(get_as(list, article, "paragraphs", place)):
            below = f"{place}.paragraphs[{p}]"
            context = get_as(str, paragraph, "context", below)
            for q, question in enumerate(get_as(list, paragraph, "qas", below)):
                empty = False
                yield parse_question(f"{below}.qas[{q}]", question, context)
    if empty:
        raise LtsftError(
            f"{path} is expected to have at least one question, but it has none; check that the "
            "file was written to its end."
        )


def parse_question(place: str, values: Any, context: str) -> TextQuestion:
    """Make a question of the values of one, as SQuAD names them.

    Args:
        place: Where they are, for error messages.
        values: An object with `id`, `question`, and `answers`, if there are any: objects with
            `text` and `answer_start`. Answers without text are none.
        context: The text that the question is about.

    Raises:
        LtsftError: If a value is missing or of another kind, or the text has only blanks.
    """
    if not context.strip():
        raise LtsftError(f"{place}: `context` is expected to have text, but it has only blanks.")
    answers = values.get("answers") if isinstance(values, dict) else None
    spans = _answers(place, [] if answers is None else answers)
    return TextQuestion(
        id=get_as(str, values, "id", place),
        question=get_as(str, values, "question", place),
        context=context,
        answers=[answer for answer in spans if answer.text.strip()],
    )


def _answers(place: str, answers: Any) -> Iterator[Answer]:
    if not isinstance(answers, list):
        raise LtsftError(f"{place}: `answers` is expected to be a list, but got {answers!r:.60}.")
    for answer in answers:
        yield Answer(get_as(str, answer, "text", place), get_as(int, answer, "answer_start", place))


def get_as(kind: type[Value], values: Any, name: str, place: str) -> Value:
    """The value of that name, if it is of that kind.

    Args:
        kind: ``str``, ``int`` or ``list``.
        values: The object that should hold it.
        name: Its name.
        place: Where the object is, for error messages.

    Raises:
        LtsftError: If it is none, or of another kind.
    """
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, kind):
        names = {str: "a string", int: "a whole number", list: "a list"}
        raise LtsftError(
            f"{place}: `{name}` is expected to be {names[kind]}, as in SQuAD, but got "
            f"{value!r:.60}."
        )
    return value
