"""A label for each sentence or pair of sentences: natural language inference, sentiment, topics."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from transformers import AutoModelForSequenceClassification
from typing_extensions import override

from ltsft.batch import PADDING, UNKNOWN, Batch
from ltsft.data.labels import NLI
from ltsft.data.pair_data import PairData
from ltsft.data.pairs import LabelledTexts
from ltsft.errors import LtsftError
from ltsft.metrics import MeanLoss
from ltsft.tasks.base import Task
from ltsft.tasks.encoder import model_inputs
from ltsft.tasks.in_memory import longest_input, predict
from ltsft.tasks.loss import SummedLoss, loss_where


class SentenceClassifier(Task):
    """Labels sentences or pairs of them by two layers on the first token (Ansell et al., 2022).

    The two layers are the architecture's own: BERT's pooler and classifier, RoBERTa's
    ``classifier.dense`` and ``classifier.out_proj``. The result is loaded by
    ``AutoModelForSequenceClassification``. A pooler that came with the pretrained model belongs to
    the encoder and is maskable; one with a random start is whole.

    Best weights are chosen by `val_accuracy`. `val_macro_f1` is the mean F1 of the labels that
    occur, as gold or predicted ones, as in scikit-learn. Examples without a gold label are neither
    trained on nor scored. Gold labels outside the inventory are wrong whatever is predicted; all of
    them together are one more label of the mean, whose F1 is 0.

    Args:
        labels: Label names in the order of the head's outputs. By default those of the task
            fine-tuning in `base_sfts`; if both are given, they must agree. The command line takes
            them from the data.
        task: Name of the task to note in the fine-tuning; by default ``nli`` if the labels are its
            three, else ``classification``.
        **kwargs: Options of every task, see :class:`~ltsft.tasks.Task`.

    Raises:
        LtsftError: If there are no labels, or they contradict each other.
    """

    auto_class = AutoModelForSequenceClassification
    monitor = "val_accuracy"
    monitor_mode = "max"
    labels: list[str]

    def __init__(
        self, labels: list[str] | None = None, task: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._build(labels, labelled=True)
        self.task_name = task or ("nli" if set(self.labels) == set(NLI) else "classification")

    @override
    def forward(self, batch: Batch) -> Tensor:
        """Score the labels for each example.

        Args:
            batch: `input_ids` and `attention_mask` [B, T]; `token_type_ids` [B, T] if there are.

        Returns:
            Logits [B, labels].
        """
        return cast(Tensor, self.model(**model_inputs(self.model, batch)).logits)

    def classify(
        self,
        texts: Sequence[str | tuple[str, str]],
        max_length: int | None = None,
        batch_size: int = 32,
    ) -> list[dict[str, float]]:
        """Label texts.

        Args:
            texts: Sentences, or pairs of premise and hypothesis.
            max_length: Sub-words per example at the most, by default as many as the model takes.
            batch_size: Examples per batch.

        Returns:
            Label -> probability, for each.
        """
        if isinstance(texts, str):
            raise LtsftError(
                f"`texts` is expected to be a list of them, but got {texts[:60]!r}; write "
                "`classify([text])`."
            )
        for text in texts:
            if not isinstance(text, str) and len(text) != 2:
                raise LtsftError(
                    "`texts` is expected to be sentences, or pairs of premise and hypothesis, but "
                    f"one is {str(text)[:60]}."
                )
        examples = [LabelledTexts((t,) if isinstance(t, str) else tuple(t), None) for t in texts]
        columns = ["premise", "hypothesis"][: len(examples[0].texts)] if examples else ["premise"]
        data = PairData(
            self.base_model,
            texts=columns,
            labels=self.labels,
            max_length=max_length or longest_input(self.model, self.base_model),
            eval_batch_size=batch_size,
        )
        return predict(self, data, examples)

    @override
    def training_loss(self, batch: Batch) -> SummedLoss:
        return self._loss(self(batch), batch)

    @override
    def make_metrics(self) -> dict[str, Metric]:
        # One class more than labels, for gold labels outside the inventory.
        classes: dict[str, Any] = {
            "num_classes": len(self.labels) + 1,
            "ignore_index": PADDING,
        }
        return {
            "loss": MeanLoss(),
            "accuracy": MulticlassAccuracy(average="micro", **classes),
            "macro_f1": MulticlassF1Score(average="macro", **classes),
        }

    @override
    def evaluate(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        logits, gold = self(batch), batch["labels"]
        gold = gold.masked_fill(gold == UNKNOWN, len(self.labels))
        labels = logits.argmax(-1), gold
        return {"loss": self._loss(logits, batch), "accuracy": labels, "macro_f1": labels}

    @override
    def predict_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[dict[str, float]]:
        """Predict the probability of each label, for each example."""
        probabilities = self(batch).float().softmax(-1)
        return [dict(zip(self.labels, row, strict=True)) for row in probabilities.tolist()]

    def _loss(self, logits: Tensor, batch: Batch) -> SummedLoss:
        """Loss of the examples that can be trained on."""
        gold = batch["labels"]
        return loss_where(gold >= 0, logits, gold)
