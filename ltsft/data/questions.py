"""Questions about texts with the spans that answer them, whatever they were read from."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ltsft.data.formats.files import numbered_lines
from ltsft.data.source import Source, Table, artificial_language
from ltsft.errors import LtsftError


class Answer(NamedTuple):
    """A span of a text.

    Args:
        text: What it says.
        start: Where it begins, in characters.
    """

    text: str
    start: int


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
        end = answer.start + len(answer.text)
        return answer.start < 0 or self.context[answer.start : end] != answer.text


def read_questions(source: Source, role: str, *, key: str) -> list[TextQuestion]:
    """Read questions from any source.

    A file ``*.json`` is one as SQuAD has it. Tables have, as the `datasets` ones do, the columns
    `question`, `context`, `answers` (an object with lists `text` and `answer_start`) and mostly
    `id`; without it, questions are numbered.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation`` or ``test``.
        key: The option that gave the source, for error messages.

    Raises:
        LtsftError: If there is no such source, or it cannot be read in that format.
    """
    path = Path(source.path)
    if source.is_artificial:
        language, count, split = artificial_language(source, role)
        questions = [
            TextQuestion(f"{split}-{number}", q.question, q.context, [Answer(q.answer, q.start)])
            for number, q in enumerate(language.questions(count, split))  # type: ignore[arg-type]
        ]
    elif path.suffix == ".json" and path.is_file():
        questions = list(_read_squad(path))[: source.limit]
    elif source.is_plain_file:
        raise LtsftError(
            f"`{key}` is expected to be a SQuAD file (*.json) or a table (*.jsonl, *.parquet, or a "
            f"data set), but {source.path} is named like neither; rename it."
        )
    else:
        questions = list(_read_table(Table(source, role, key)))
    (repeated, times), *_ = Counter(question.id for question in questions).most_common(1)
    if times > 1:
        raise LtsftError(
            f"`{key}` ({source.path}) is expected to have an `id` of its own for each question, "
            f"but {repeated!r} occurs {times} times; answers are written by it."
        )
    return questions


def _read_squad(path: Path) -> Iterator[TextQuestion]:
    text = "\n".join(line for _, line in numbered_lines(path))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise LtsftError(
            f"{path}, line {error.lineno}: the file is expected to be JSON, but at column "
            f"{error.colno}: {error.msg}; save one object per line as *.jsonl."
        ) from error
    empty = True
    for a, article in enumerate(_get(data, "data", list, str(path))):
        place = f"{path}, data[{a}]"
        for p, paragraph in enumerate(_get(article, "paragraphs", list, place)):
            below = f"{place}.paragraphs[{p}]"
            context = _get(paragraph, "context", str, below)
            for q, question in enumerate(_get(paragraph, "qas", list, below)):
                empty = False
                yield _question(f"{below}.qas[{q}]", question, context)
    if empty:
        raise LtsftError(
            f"{path} is expected to have at least one question, but it has none; check that the "
            "file was written to its end."
        )


def _question(place: str, values: Any, context: str) -> TextQuestion:
    if not context.strip():
        raise LtsftError(f"{place}: `context` is expected to have text, but it has only blanks.")
    answers = values.get("answers") if isinstance(values, dict) else None
    found = _answers(place, [] if answers is None else answers)
    return TextQuestion(
        id=_get(values, "id", str, place),
        question=_get(values, "question", str, place),
        context=context,
        answers=[answer for answer in found if answer.text.strip()],
    )


def _read_table(table: Table) -> Iterator[TextQuestion]:
    asked = {"question": "question", "context": "context"}
    for optional in ("answers", "id"):
        if table.has_column(optional, optional):
            asked[optional] = optional
    for number, (place, row) in enumerate(table.rows(**asked)):
        values = {"id": number, **dict(zip(asked, row, strict=True))}
        if isinstance(values["id"], int):
            values["id"] = str(values["id"])
        answers = values.get("answers")
        if isinstance(answers, dict):  # lists side by side, as `datasets` has them
            texts, starts = (_get(answers, k, list, place) for k in ("text", "answer_start"))
            answers = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=False)]
        values["answers"] = answers
        yield _question(place, values, _get(values, "context", str, place))


def _answers(place: str, answers: Any) -> Iterator[Answer]:
    if not isinstance(answers, list):
        raise LtsftError(f"{place}: `answers` is expected to be a list, but got {answers!r:.60}.")
    for answer in answers:
        yield Answer(_get(answer, "text", str, place), _get(answer, "answer_start", int, place))


def _get(values: Any, name: str, kind: type, place: str) -> Any:
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, kind):
        names = {str: "a string", int: "a whole number", list: "a list"}
        raise LtsftError(
            f"{place}: `{name}` is expected to be {names[kind]}, as in SQuAD, but got "
            f"{value!r:.60}."
        )
    return value
