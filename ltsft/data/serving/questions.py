"""Questions, each with all of its windows, in one batch."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from ltsft.batch import Batch
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.serving.collate import Collator
from ltsft.data.serving.examples import LanguageExamples
from ltsft.data.serving.sampling import Draw


class QuestionExamples(Dataset[dict[str, Any]]):
    """Questions of one language with all of their windows, fetched by :class:`Draw`.

    Args:
        contexts: The text of each question.
        answers: The gold answers to each question.
        windows: Their windows, those of a question one after the other; the column `questions`
            says whose each is.
    """

    def __init__(
        self,
        contexts: Sequence[str],
        answers: Sequence[Sequence[str]],
        windows: LanguageExamples,
    ) -> None:
        self.contexts = contexts
        self.answers = answers
        self.windows = windows
        column = windows.columns["questions"]
        assert isinstance(column, Ragged)
        self._question_of: list[int] = column.values.tolist()

    def __len__(self) -> int:
        return len(self.contexts)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        first, last = (bisect_left(self._question_of, draw.example + n) for n in (0, 1))
        return {
            "windows": [self.windows[number] for number in range(first, last)],
            "context": self.contexts[draw.example],
            "answers": list(self.answers[draw.example]),
        }


@dataclass
class QuestionCollator:
    """Makes batches of questions.

    Args:
        collator: Makes batches of windows.
    """

    collator: Collator

    def __call__(self, items: list[dict[str, Any]]) -> Batch:
        """Put all windows into one batch, and say which question each is of.

        Args:
            items: What :class:`QuestionExamples` serves.
        """
        windows = [window for item in items for window in item["windows"]]
        counts = torch.tensor([len(item["windows"]) for item in items])
        return self.collator(windows) | {
            "questions": torch.repeat_interleave(counts),
            "contexts": [item["context"] for item in items],
            "answers": [item["answers"] for item in items],
        }
