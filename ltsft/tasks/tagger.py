"""A label for each word: parts of speech, named entities."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from torchmetrics import Metric
from transformers import AutoModelForTokenClassification
from typing_extensions import override

from ltsft.batch import NO_ANSWER, PADDING, Batch
from ltsft.data.tagged import TaggedSentence
from ltsft.data.tagging_data import TaggingData
from ltsft.metrics import MeanLoss, SpanF1, TokenAccuracy
from ltsft.tasks.base import Task
from ltsft.tasks.in_memory import check_words, longest_input, predict
from ltsft.tasks.loss import SummedLoss, loss_where


class Tagger(Task):
    """Labels each word by one linear layer on its first sub-word (Ansell et al., 2022, §4.1).

    Words that have no sub-word, or that a length limit cut off, are not trained on. In evaluation
    they are wrong for the accuracy, and ``O`` for spans; predictions show ``O`` for them if that is
    a label, else ``X`` (the universal part of speech for what has none), else the first label.
    Gold labels outside the inventory are wrong whatever is predicted.

    Args:
        labels: Label names in the order of the head's outputs. By default those of the task
            fine-tuning in `base_sfts`; if both are given, they must agree. The command line takes
            them from the data.
        metric: What the best weights are chosen by. ``accuracy``: share of right words
            (`val_accuracy`). ``span_f1``: micro-averaged F1 of entities, in seqeval's default mode
            as in the authors' code (`val_f1`); that of strict IOB2 is logged as `val_f1_strict`.
        task: Name of the task to note in the fine-tuning; by default ``pos`` with ``accuracy`` and
            ``ner`` with ``span_f1``.
        **kwargs: Options of every task, see :class:`~ltsft.tasks.Task`.

    Raises:
        LtsftError: If there are no labels, they contradict each other, or do not suit the metric.
    """

    auto_class = AutoModelForTokenClassification
    monitor_mode = "max"
    labels: list[str]

    def __init__(
        self,
        labels: list[str] | None = None,
        metric: Literal["accuracy", "span_f1"] = "accuracy",
        task: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.metric = metric
        self.monitor = "val_f1" if metric == "span_f1" else "val_accuracy"
        self.task_name = task or ("ner" if metric == "span_f1" else "pos")
        self._build(labels, labelled=True)
        self.make_metrics()  # refuses labels that do not suit the metric, before hours of training

    @override
    def forward(self, batch: Batch) -> Tensor:
        """Score the labels for each word.

        Args:
            batch: `input_ids` and `attention_mask` [B, T]; `word_starts` [B, W], the position of
                each word's first sub-word, -1 for none.

        Returns:
            Logits [B, W, labels]; without meaning where `word_starts` is -1.
        """
        output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        logits: Tensor = output.logits  # [B, T, labels]
        positions = batch["word_starts"].clamp(min=0).unsqueeze(-1)
        return logits.gather(1, positions.expand(-1, -1, logits.shape[-1]))

    @override
    def training_loss(self, batch: Batch) -> SummedLoss:
        return self._loss(self(batch), batch)

    @override
    def make_metrics(self) -> dict[str, Metric]:
        if self.metric == "span_f1":
            return {
                "loss": MeanLoss(),
                "f1": SpanF1(self.labels),
                "f1_strict": SpanF1(self.labels, strict=True),
            }
        return {"loss": MeanLoss(), "accuracy": TokenAccuracy()}

    @override
    def evaluate(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        logits = self(batch)
        labels = self._predictions(logits, batch), batch["labels"]
        names = ("f1", "f1_strict") if self.metric == "span_f1" else ("accuracy",)
        return {"loss": self._loss(logits, batch), **dict.fromkeys(names, labels)}

    @override
    def predict_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[list[str]]:
        """Predict the label names of the words of each sentence, in order."""
        silent = next((label for label in ("O", "X") if label in self.labels), self.labels[0])
        predictions = self._predictions(self(batch), batch)
        return [
            [
                silent if id == NO_ANSWER else self.labels[id]
                for id, gold in zip(sentence, gold_labels, strict=True)
                if gold != PADDING
            ]
            for sentence, gold_labels in zip(
                predictions.tolist(), batch["labels"].tolist(), strict=True
            )
        ]

    def tag(
        self,
        sentences: Sequence[Sequence[str]],
        max_length: int | None = None,
        batch_size: int = 32,
    ) -> list[list[str]]:
        """Tag sentences.

        Args:
            sentences: The words of each sentence.
            max_length: Sub-words per sentence at the most, by default as many as the model takes;
                words beyond get ``O`` or ``X``.
            batch_size: Sentences per batch.

        Returns:
            A tag for each word of each sentence.
        """
        check_words(sentences, 'tag([["A", "sentence", "."]])')
        data = TaggingData(
            self.base_model,
            labels=self.labels,
            max_length=max_length or longest_input(self.model, self.base_model),
            eval_batch_size=batch_size,
        )
        examples = [TaggedSentence(list(words), ["_"] * len(words)) for words in sentences]
        return predict(self, data, examples)

    def _predictions(self, logits: Tensor, batch: Batch) -> Tensor:
        """Best label of each word [B, W], -1 for a word without an answer."""
        return logits.argmax(-1).masked_fill(batch["word_starts"] < 0, NO_ANSWER)

    def _loss(self, logits: Tensor, batch: Batch) -> SummedLoss:
        """Loss of the words that can be trained on."""
        gold = batch["labels"]
        return loss_where((gold >= 0) & (batch["word_starts"] >= 0), logits, gold)
