"""Questions about texts with the spans that answer them, whatever they were read from."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from ltsft.data.artificial.language import Language, Split
from ltsft.data.formats.squad import Answer, TextQuestion, get_as, parse_question, read_squad
from ltsft.data.reading import read
from ltsft.data.source import Source
from ltsft.data.table import Table
from ltsft.errors import LtsftError

SUFFIX = ".json"
"""Files that end so are in the format of SQuAD here; elsewhere they are tables."""


def read_questions(source: Source, role: str) -> list[TextQuestion]:
    """Read questions from any source.

    A file ``*.json`` is one as SQuAD has it. Tables have, as the `datasets` ones do, the columns
    `question`, `context`, `answers` (an object with lists `text` and `answer_start`) and mostly
    `id`; without it, questions are numbered.

    Args:
        source: Where they are.
        role: What they are for: ``train``, ``validation``, ``test`` or ``predict``.

    Raises:
        LtsftError: If there is no such source, or it cannot be read in that format.
    """

    def of_language(language: Language, number: int, split: Split) -> Iterator[TextQuestion]:
        for position, q in enumerate(language.questions(number, split)):
            answer = Answer(q.answer, q.start)
            yield TextQuestion(f"{split}-{position}", q.question, q.context, [answer])

    def of_file(path: str) -> Iterable[TextQuestion]:
        if not path.endswith(SUFFIX):
            raise LtsftError(
                f"`{source.option}` is expected to be a SQuAD file (*.json) or a table (*.jsonl, "
                f"*.parquet, or a data set), but {path} is named like neither; rename it."
            )
        return islice(list(read_squad(path)), source.limit)

    examples = read(
        source, role, language=of_language, file=of_file, table=_read_table, suffix=SUFFIX
    )
    questions = list(examples)
    (repeated, times), *_ = Counter(question.id for question in questions).most_common(1)
    if times > 1:
        raise LtsftError(
            f"`{source.option}` ({source.path}) is expected to have an `id` of its own for each "
            f"question, but {repeated!r} occurs {times} times; answers are written by it."
        )
    return questions


def _read_table(table: Table) -> Iterator[TextQuestion]:
    columns = {"question": "question", "context": "context"}
    for optional in ("answers", "id"):
        if table.has_column(optional, optional):
            columns[optional] = optional
    for number, (place, row) in enumerate(table.rows(**columns)):
        values = {"id": number, **dict(zip(columns, row, strict=True))}
        if isinstance(values["id"], int):
            values["id"] = str(values["id"])
        answers = values.get("answers")
        if isinstance(answers, dict):  # lists side by side, as `datasets` has them
            texts, starts = (get_as(list, answers, k, place) for k in ("text", "answer_start"))
            answers = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=False)]
        values["answers"] = answers
        yield parse_question(place, values, get_as(str, values, "context", place))
