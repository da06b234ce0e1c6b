"""Questions about texts of one or several languages, answered by spans of the texts."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from ltsft.atomic import write_text
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns
from ltsft.data.encoding.windows import locate, tokenize_windows
from ltsft.data.labelled_data import LabelledData
from ltsft.data.labels import PADDING_LABEL
from ltsft.data.questions import TextQuestion, read_questions
from ltsft.data.serving.collate import Collator, LanguageExamples
from ltsft.data.serving.loading import EvaluationLoader
from ltsft.data.serving.sampling import Draw
from ltsft.data.source import Source
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class QuestionData(LabelledData[TextQuestion]):
    """Questions about texts, answered by spans of the texts, as in SQuAD, XQuAD and MLQA.

    Texts longer than `max_length` are cut into windows that overlap. A training batch has that many
    windows; an evaluation batch has that many questions, each with all of its windows, so that an
    answer is chosen among all of them wherever it is computed.

    Batches, each of one language: `input_ids`, `attention_mask` [W, T]; `token_type_ids` [W, T], if
    the tokenizer tells question and text apart by them; `char_starts`, `char_ends` [W, T], the
    characters of the text that a sub-word stands for, -1 where it is not the text's;
    `start_positions`, `end_positions` [W], the first and last sub-word of the first gold answer: 0
    in windows that do not hold it, and where the text does not answer the question (SQuAD 2.0);
    -100 where the answer is not in the text; `source`, the language code. When evaluating also
    `questions` [W], which of the batch's questions a window is of; `contexts`, a text for each
    question; `answers`, a list of gold answers for each.

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        max_length: Sub-words of a window, question and special tokens included.
        stride: Sub-words of a text that one window shares with the next. An answer that is at most
            one longer is whole in some window.
        max_question_length: Sub-words of a question to keep, the first ones.
        **kwargs: Options of all labelled data, see
            :class:`~ltsft.data.labelled_data.LabelledData`.

    Raises:
        LtsftError: If a number is out of range.
    """

    def __init__(
        self,
        tokenizer: str = "",
        max_length: int = 384,
        stride: int = 128,
        max_question_length: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, max_length=max_length, **kwargs)
        for name, value, least in (
            ("stride", stride, 0),
            ("max_question_length", max_question_length, 1),
        ):
            if value < least:
                raise LtsftError(
                    f"`data.init_args.{name}` is expected to be {least} or more, but got {value}."
                )
        self.stride = stride
        self.max_question_length = max_question_length

    @override
    def read(self, source: Source, split: str, key: str) -> list[TextQuestion]:
        return read_questions(source, split, key=key)

    @override
    def tokenize(
        self, examples: list[TextQuestion], tokenizer: "PreTrainedTokenizerFast"
    ) -> Columns:
        taken = self.max_question_length + tokenizer.num_special_tokens_to_add(pair=True)
        if self.max_length - taken <= self.stride:
            raise LtsftError(
                f"`data.init_args.max_length` is expected to be above {taken + self.stride} (a "
                f"question of `max_question_length` = {self.max_question_length}, special tokens, "
                f"and `stride` = {self.stride} that two windows share), but got {self.max_length}; "
                "make one of the others smaller."
            )
        return tokenize_windows(
            [example.question for example in examples],
            [example.context for example in examples],
            tokenizer,
            self.max_length,
            stride=self.stride,
            max_question_length=self.max_question_length,
            progress=self.is_first_rank,
        )

    @override
    def annotate(
        self, examples: list[TextQuestion], columns: Columns
    ) -> dict[str, Ragged | Tensor]:
        positions = []
        windows = zip(
            columns["questions"].values.tolist(),
            columns["char_starts"],
            columns["char_ends"],
            strict=True,
        )
        for number, char_starts, char_ends in windows:
            example = examples[number]
            positions.append(
                (PADDING_LABEL, PADDING_LABEL)
                if example.is_misplaced
                else locate(example.answer, char_starts, char_ends)
            )
        starts, ends = torch.tensor(positions).unbind(1)
        return {"start_positions": starts, "end_positions": ends}

    @override
    def check(self, name: str, role: str, examples: list[TextQuestion], columns: Columns) -> None:
        if role == "predict":
            return
        if not any(example.answers for example in examples):
            raise LtsftError(
                f"{name} is expected to have answers, but not one question has one; name the "
                "column that holds them, `columns: {answers: …}`."
            )
        if misplaced := sum(example.is_misplaced for example in examples):
            use = "not trained on" if role == "train" else "scored all the same"
            rank_zero_warn(
                f"{name} has {misplaced} questions whose answer is not where `answer_start` says, "
                f"in characters; they are {use}."
            )

    @override
    def _evaluation_loaders(self, role: str) -> list[EvaluationLoader]:
        return [
            self.make_evaluation_loader(
                QuestionExamples(self._read(role, language), self._part(role, language)),
                QuestionCollator(self.collator),
            )
            for language in self.sources[role]
        ]

    @override
    def save_predictions(self, language: str, predictions: list[Any], folder: Path) -> Path:
        """Write ``{id: answer}`` as JSON, as SQuAD's official script reads it.

        Args:
            language: Language code.
            predictions: An answer to each question; an empty text: the text does not answer it.
            folder: Where to write.
        """
        pairs = zip(self.examples("predict", language), predictions, strict=True)
        answers = {question.id: answer for question, answer in pairs}
        path = folder / f"{language}.json"
        write_text(path, json.dumps(answers, ensure_ascii=False, indent=1) + "\n")
        return path


class QuestionExamples(Dataset[dict[str, Any]]):
    """Questions of one language with all of their windows, fetched by :class:`Draw`.

    Args:
        questions: The questions.
        windows: Their windows, those of a question one after the other.
    """

    def __init__(self, questions: Sequence[TextQuestion], windows: LanguageExamples) -> None:
        self.questions = questions
        self.windows = windows
        column = windows.columns["questions"]
        assert isinstance(column, Ragged)
        self._question_of: list[int] = column.values.tolist()

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        question = self.questions[draw.example]
        first, last = (bisect_left(self._question_of, draw.example + n) for n in (0, 1))
        return {
            "windows": [self.windows[number] for number in range(first, last)],
            "context": question.context,
            "answers": [answer.text for answer in question.answers],
        }


@dataclass
class QuestionCollator:
    """Makes batches of questions.

    Args:
        collator: Makes batches of windows.
    """

    collator: Collator

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
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
