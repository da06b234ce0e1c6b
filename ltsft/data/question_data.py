"""Questions about texts of one or several languages, answered by spans of the texts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from ltsft.atomic import write_text
from ltsft.batch import PADDING
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns
from ltsft.data.encoding.windows import locate, tokenize_windows
from ltsft.data.formats.squad import TextQuestion
from ltsft.data.labelled_data import LabelledData
from ltsft.data.questions import read_questions
from ltsft.data.serving.loading import EvaluationLoader
from ltsft.data.serving.questions import QuestionCollator, QuestionExamples
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
    -100 where the answer is not in the text; `language`. When evaluating also
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
    def read(self, source: Source, role: str) -> list[TextQuestion]:
        return read_questions(source, role)

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
            answer = examples[number].answer
            if answer is None:
                positions.append((0, 0))
            elif examples[number].is_misplaced:
                positions.append((PADDING, PADDING))
            else:
                positions.append(locate(answer.start, answer.end, char_starts, char_ends))
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
        loaders = []
        for language in self.sources[role]:
            questions = self._read(role, language)
            examples = QuestionExamples(
                [question.context for question in questions],
                [[answer.text for answer in question.answers] for question in questions],
                self._part(role, language),
            )
            loaders.append(self.make_evaluation_loader(examples, QuestionCollator(self.collator)))
        return loaders

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
