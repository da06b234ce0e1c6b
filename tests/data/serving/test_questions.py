"""Questions are served whole: all windows of each, and whose each window is."""

from ltsft.data.encoding.ragged import Ragged
from ltsft.data.serving.collate import Collator
from ltsft.data.serving.examples import LanguageExamples
from ltsft.data.serving.questions import QuestionCollator, QuestionExamples
from ltsft.data.serving.sampling import Draw

WINDOWS = [[10, 11], [12], [20], [30, 31, 32], [33], [34]]
QUESTION_OF = [0, 0, 1, 2, 2, 2]


def test_batches_of_questions() -> None:
    """In any order; windows are padded together."""
    columns = {
        "input_ids": Ragged.of(WINDOWS),
        "char_ends": Ragged.of(WINDOWS),
        "questions": Ragged.of([number] for number in QUESTION_OF),
    }
    texts, answers = ["a", "b", "c"], [["x"], [], ["y", "z"]]
    examples = QuestionExamples(texts, answers, LanguageExamples("xx", columns))
    assert len(examples) == 3
    batch = QuestionCollator(Collator(0))([examples[Draw(n, seed=0)] for n in (2, 0)])
    assert batch["questions"].tolist() == [0, 0, 0, 1, 1]
    assert batch["input_ids"].tolist() == [
        *([30, 31, 32], [33, 0, 0], [34, 0, 0], [10, 11, 0], [12, 0, 0])
    ]
    assert batch["char_ends"][1].tolist() == [33, -1, -1]
    assert (batch["contexts"], batch["answers"]) == (["c", "a"], [["y", "z"], ["x"]])
    assert batch["language"] == "xx"
