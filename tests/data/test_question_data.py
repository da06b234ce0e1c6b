"""QuestionData: windows that cover the text, answers in them, batches of whole questions."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltsft.data import QuestionData
from ltsft.data.formats.squad import Answer, TextQuestion
from ltsft.errors import LtsftError
from tests.data.formats.test_squad import squad

MINI = Path(__file__).parents[3] / "shared/models/mini-mmt"
Make = Callable[..., str]
Write = Callable[..., str]


def random_questions(num: int, rng: random.Random) -> list[TextQuestion]:
    """Words of one to four letters; the answer is a stretch of them."""
    made = []
    for number in range(num):
        words = ["".join(rng.choices("abcde", k=rng.randrange(1, 5))) for _ in range(20)]
        first = rng.randrange(20)
        answer = " ".join(words[first : first + rng.randrange(1, 4)])
        context = " ".join(words)
        start = len(" ".join([*words[:first], ""]))
        made.append(TextQuestion(f"q{number}", "who ?", context, [Answer(answer, start)]))
    return made


def save(write: Write, questions: list[TextQuestion], name: str = "a.json") -> str:
    return write(name, json.dumps(squad(questions)))


def data(make_tokenizer: Make, **options: Any) -> QuestionData:
    settings = {"max_length": 20, "stride": 5, "max_question_length": 6} | options
    return QuestionData(make_tokenizer(), **settings)


def test_answers_in_windows(make_tokenizer: Make, write: Write) -> None:
    """A window that holds the answer points at it; any other at the first token.

    Answers have twelve sub-words at the most, so that each is whole in some window.
    """
    questions = random_questions(30, random.Random(1))
    settings: dict[str, Any] = {"max_length": 30, "stride": 12, "global_batch_size": 1}
    loaded = data(make_tokenizer, train={"xx": save(write, questions)}, **settings)
    held = set()
    for batch in loaded.train_dataloader():
        (number,) = batch["questions"].flatten().tolist()
        start, end = batch["start_positions"].item(), batch["end_positions"].item()
        text = questions[number].context
        first, last = batch["char_starts"][0, start].item(), batch["char_ends"][0, end].item()
        (answer,) = questions[number].answers
        window = batch["char_starts"][0], batch["char_ends"][0]
        from_, to = window[0][window[0] >= 0].min().item(), window[1].max().item()
        if from_ <= answer.start and answer.start + len(answer.text) <= to:
            assert text[first:last] == answer.text
            assert first == answer.start
            held.add(number)
        else:
            assert (start, end) == (0, 0)
    assert held == set(range(30))


def test_evaluation_batches_hold_whole_questions(make_tokenizer: Make, write: Write) -> None:
    """All windows of each question, which `questions` tells apart; texts and gold answers."""
    questions = random_questions(7, random.Random(2))
    questions[3].context = questions[3].context[:3]
    questions[3].answers = []
    loaded = data(make_tokenizer, test={"xx": save(write, questions)}, eval_batch_size=3)
    (loader,) = loaded.test_dataloader()
    seen = 0
    for batch in loader:
        size = len(batch["contexts"])
        assert batch["contexts"] == [q.context for q in questions[seen : seen + size]]
        assert batch["answers"] == [
            [a.text for a in q.answers] for q in questions[seen : seen + size]
        ]
        assert batch["questions"].unique_consecutive().tolist() == list(range(size))
        for window, question in enumerate(batch["questions"].tolist()):
            end = batch["char_ends"][window].max().item()
            assert end <= len(batch["contexts"][question])
        for question, context in enumerate(batch["contexts"]):
            own = batch["questions"] == question
            assert batch["char_ends"][own].max().item() == len(context)
        assert batch["language"] == "xx"
        seen += size
    assert seen == 7
    assert len(loader) == 3


def test_misplaced_answers_are_not_trained_on(make_tokenizer: Make, write: Write) -> None:
    questions = random_questions(3, random.Random(3))
    questions[1].answers = [Answer("nowhere", 0)]
    loaded = data(make_tokenizer, train={"xx": save(write, questions)}, global_batch_size=1)
    with pytest.warns(UserWarning, match="has 1 questions whose answer is not .* not trained"):
        loader = loaded.train_dataloader()
    for batch in loader:
        assert (batch["start_positions"].item() == -100) == (batch["questions"].item() == 1)


def test_predicting_needs_no_answers(make_tokenizer: Make, write: Write) -> None:
    questions = random_questions(2, random.Random(4))
    for question in questions:
        question.answers = []
    path = save(write, questions)
    loaded = data(make_tokenizer, predict={"xx": path}, test={"xx": path})
    assert len(list(loaded.predict_dataloader()[0])) == 1
    with pytest.raises(LtsftError, match=r"test.xx` .* answers, but not one .* `columns: {answers"):
        loaded.test_dataloader()


def test_predictions(make_tokenizer: Make, write: Write, tmp_path: Path) -> None:
    questions = random_questions(2, random.Random(5))
    loaded = data(make_tokenizer, predict={"xx": save(write, questions)})
    path = loaded.save_predictions("xx", ["Łódź", ""], tmp_path)
    assert path.name == "xx.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {"q0": "Łódź", "q1": ""}


def test_windows_that_are_too_short(make_tokenizer: Make, write: Write) -> None:
    path = save(write, random_questions(1, random.Random(6)))
    loaded = data(make_tokenizer, test={"xx": path}, max_length=14)
    with pytest.raises(LtsftError, match=r"`data.init_args.max_length` .* above 14 .* but got 14"):
        loaded.setup("test")
    data(make_tokenizer, test={"xx": path}, max_length=15).setup("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": -1}, "`data.init_args.stride` is expected to be 0 or more, but got -1"),
        (
            {"max_question_length": 0},
            "`data.init_args.max_question_length` .* 1 or more, .* 0",
        ),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LtsftError, match=message):
        QuestionData(**options)


@pytest.mark.skipif(not MINI.is_dir(), reason="needs the shared model")
def test_a_real_tokenizer(write: Write) -> None:
    """With blanks inside sub-words, and characters it does not know, answers are found exactly."""
    context = "He met Ada  Lovelace (née Byron) in Łódź, 1852; 漢字かな and 👩‍🚀 too. " * 6
    answers = ["Ada  Lovelace", "née Byron", "Łódź", "漢字", "👩‍🚀", "met"]
    questions = [
        TextQuestion(str(n), "Who met whom?", context, [Answer(a, context.index(a, n * 60))])
        for n, a in enumerate(answers)
    ]
    loaded = QuestionData(
        str(MINI),
        max_length=40,
        stride=10,
        max_question_length=10,
        train={"xx": save(write, questions)},
        global_batch_size=1,
    )
    found = set()
    for batch in loaded.train_dataloader():
        start, end = batch["start_positions"].item(), batch["end_positions"].item()
        if start:
            number = batch["questions"].item()
            first, last = batch["char_starts"][0, start], batch["char_ends"][0, end]
            assert answers[number] in context[first:last]
            assert len(context[first:last]) <= len(answers[number]) + 2
            found.add(number)
    assert found == set(range(len(answers)))
