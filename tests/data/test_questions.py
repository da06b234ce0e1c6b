"""Questions from SQuAD files, tables and built-in languages; what is wrong with a file."""

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from ltsft.data import Source
from ltsft.data.artificial import family
from ltsft.data.formats.squad import Answer, TextQuestion
from ltsft.data.questions import read_questions
from ltsft.errors import LtsftError
from tests.data.formats.test_squad import QUESTIONS, squad

Write = Callable[..., str]


def read(source: Source | str, role: str = "train") -> list[TextQuestion]:
    return read_questions(Source.of(source, "data.init_args.train.en"), role)


def test_squad_files(write: Write) -> None:
    path = write("a.json", "\ufeff" + json.dumps(squad(QUESTIONS), ensure_ascii=False, indent=1))
    assert read(path) == QUESTIONS
    assert read(Source(path, limit=2)) == QUESTIONS[:2]


def test_answers_of_blanks_are_none(write: Write) -> None:
    """As some sets mark questions that their text does not answer."""
    changed = squad(QUESTIONS[:1], answers=[{"text": " ", "answer_start": -1}])
    assert read(write("a.json", json.dumps(changed)))[0].answers == []
    changed = squad(QUESTIONS[:1], answers=None, is_impossible=True)
    assert read(write("a.json", json.dumps(changed)))[0].answers == []


@pytest.mark.parametrize("form", ["lists", "objects"])
def test_tables(tmp_path: Path, form: str) -> None:
    """Parquet and JSON lines, answers as two lists or as a list of objects, columns by name."""
    rows = [
        {
            "name": q.id,
            "question": q.question,
            "context": q.context,
            "answers": {
                "text": [a.text for a in q.answers],
                "answer_start": [a.start for a in q.answers],
            }
            if form == "lists"
            else [{"text": a.text, "answer_start": a.start} for a in q.answers],
        }
        for q in QUESTIONS
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    for name in ("a.parquet", "a.jsonl"):
        assert read(Source(str(tmp_path / name), columns={"id": "name"})) == QUESTIONS
        numbered = read(Source(str(tmp_path / name), limit=3))
        assert [q.id for q in numbered] == ["0", "1", "2"]


def test_built_in_languages() -> None:
    """Spans where they are said to be; other texts in each split."""
    source = Source("artificial:elmu", limit=40)
    questions = read(source)
    assert len(questions) == 40
    for found, made in zip(questions, family(0)["elmu"].questions(40), strict=True):
        assert (found.question, found.context) == (made.question, made.context)
        assert found.context[made.start : made.start + len(made.answer)] == made.answer
        assert found.answers == [Answer(made.answer, made.start)]
        assert not found.is_misplaced
    assert not {q.context for q in questions} & {q.context for q in read(source, "test")}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "a.json, line 1: .* JSON, but at column 1: Expecting value; save one obj"),
        (
            "a.json",
            '{"data": [\n{"a" 3}]}',
            "a.json, line 2: .* at column 6: Expecting ':'",
        ),
        ("a.json", b'{"data": "\xe9"}', "a.json, line 1: .* UTF-8, but got the byte 0xe9"),
        ("a.json", '[{"question": "q"}]', "a.json: `data` is expected to be a list, .* got None"),
        (
            "a.json",
            '{"data": []}',
            "a.json is expected to have at least one question",
        ),
        (
            "a.json",
            json.dumps(squad(QUESTIONS[:1], question=3)),
            r"a.json, data\[0\].paragraphs\[0\].qas\[0\]: `question` is .* a string, .* got 3",
        ),
        (
            "a.json",
            json.dumps(squad(QUESTIONS[:1], answers=[{"text": "Ada"}])),
            r"qas\[0\]: `answer_start` is expected to be a whole number, .* but got None",
        ),
        (
            "a.json",
            json.dumps(squad(QUESTIONS[:1], answers="Ada")),
            r"qas\[0\]: `answers` is expected to be a list, but got 'Ada'",
        ),
        (
            "a.json",
            json.dumps(squad([QUESTIONS[0], QUESTIONS[0]])),
            r"train.en` \(.*a.json\) .* an `id` of its own .* but 'q1' occurs 2 times",
        ),
        (
            "a.jsonl",
            '{"question": "q", "context": " "}\n',
            "a.jsonl, line 1: `context` is expected to have text, but it has only blanks",
        ),
        ("a.jsonl", '{"question": "q"}\n', r"train.en.columns` .* `context`, but got 'context'"),
        ("a.txt", "x", r"train.en` is expected to be a SQuAD file .* a.txt is named like neither"),
    ],
)
def test_broken_files(write: Write, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(LtsftError, match=message.replace(" a.txt", " .*a.txt")) as caught:
        read(write(name, content))
    assert "\n" not in str(caught.value)
