"""Questions about a text, answered by a span of it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric
from transformers import AutoModelForQuestionAnswering
from typing_extensions import override

from ltsft.batch import NOWHERE, PADDING, Batch
from ltsft.errors import LtsftError
from ltsft.metrics import AnswerScore, MeanLoss, best_spans
from ltsft.tasks.base import Task
from ltsft.tasks.encoder import model_inputs
from ltsft.tasks.loss import SummedLoss, widened


class QuestionAnswering(Task):
    """Finds the first and the last sub-word of an answer by one linear layer (Devlin et al., 2019).

    Not in the paper, but in the authors' later code, whose files name the layer ``qa_outputs``. The
    loss is the mean cross-entropy of start and end over the sub-words of a window; windows that do
    not hold the answer are trained to point at the first special token.

    The answer to a question is the span, among all of all its windows, with the largest sum of
    start and end logit; it lies within the text, and does not end before it starts. Best weights
    are chosen by `val_f1`, the overlap of words with the best gold answer; the share of exact
    answers is logged as `val_exact_match` (see :mod:`ltsft.metrics.answers`).

    Args:
        max_answer_length: Longest answer, in sub-words.
        null_threshold: Questions that the text does not answer (SQuAD 2.0) are trained on in any
            case. With a number, an empty answer is given where the first special token's score, the
            least over a question's windows, is above the best span's by more than that (0 is
            usual); without, every question gets an answer.
        task: Name of the task to note in the fine-tuning.
        **kwargs: Options of every task, see :class:`~ltsft.tasks.Task`.

    Raises:
        LtsftError: If `max_answer_length` is below 1.
    """

    auto_class = AutoModelForQuestionAnswering
    monitor = "val_f1"
    monitor_mode = "max"

    def __init__(
        self,
        max_answer_length: int = 30,
        null_threshold: float | None = None,
        task: str = "qa",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_answer_length < 1:
            raise LtsftError(
                "`model.init_args.max_answer_length` is expected to be 1 or more sub-words, but "
                f"got {max_answer_length}."
            )
        self.max_answer_length = max_answer_length
        self.null_threshold = null_threshold
        self.task_name = task
        self._build()

    @override
    def forward(self, batch: Batch) -> Tensor:
        """Score each sub-word as the first and as the last one of the answer.

        Args:
            batch: `input_ids` and `attention_mask` [W, T]; `token_type_ids` [W, T] if there are.

        Returns:
            Logits [W, T, 2]: start, end.
        """
        output = self.model(**model_inputs(self.model, batch))
        return torch.stack([output.start_logits, output.end_logits], dim=-1)

    @override
    def training_loss(self, batch: Batch) -> SummedLoss:
        return self._loss(self(batch), batch)

    @override
    def make_metrics(self) -> dict[str, Metric]:
        return {
            "loss": MeanLoss(),
            "f1": AnswerScore("f1"),
            "exact_match": AnswerScore("exact_match"),
        }

    @override
    def evaluate(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        logits = self(batch)
        answers = self._answers(logits, batch), batch["answers"]
        return {"loss": self._loss(logits, batch), "f1": answers, "exact_match": answers}

    @override
    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> list[str]:
        """Predict the answer to each question."""
        return self._answers(self(batch), batch)

    def _answers(self, logits: Tensor, batch: Batch) -> list[str]:
        """The best answer to each question of a batch, over all of its windows."""
        start, end = logits.float().unbind(-1)
        in_text = batch["char_starts"] != NOWHERE
        spans = best_spans(start, end, in_text, self.max_answer_length)
        windows = torch.arange(len(start), device=start.device)
        first = batch["char_starts"][windows, spans.starts].tolist()
        last = batch["char_ends"][windows, spans.ends].tolist()
        answers = []
        for question, context in enumerate(batch["contexts"]):
            of_question = windows[batch["questions"] == question]
            best = int(of_question[spans.scores[of_question].argmax()])
            answer = context[first[best] : last[best]].strip()
            if self.null_threshold is not None:
                null = (start[of_question, 0] + end[of_question, 0]).min()
                answer = "" if null - spans.scores[best] > self.null_threshold else answer
            answers.append(answer)
        return answers

    def _loss(self, logits: Tensor, batch: Batch) -> SummedLoss:
        """Loss of the windows that can be trained on."""
        padded = batch["attention_mask"].unsqueeze(-1) == 0
        logits = widened(logits).masked_fill(padded, torch.finfo(torch.float32).min)
        gold = torch.stack([batch["start_positions"], batch["end_positions"]], dim=-1)  # [W, 2]
        total = cross_entropy(logits, gold, ignore_index=PADDING, reduction="sum") / 2
        return SummedLoss(total, (gold[:, 0] != PADDING).sum())
