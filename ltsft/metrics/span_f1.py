"""F1 of labelled spans, as of named entities, in both conventions of seqeval."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from ltsft.batch import PADDING
from ltsft.errors import LtsftError

OUTSIDE = "O"


class Span(NamedTuple):
    """A labelled span of words.

    Args:
        kind: What it is, e.g. ``PER``.
        start: Position of its first word.
        end: Position after its last word.
    """

    kind: str
    start: int
    end: int


def labelled_spans(tags: Sequence[str], *, strict: bool = False) -> set[Span]:
    """Find the spans that IOB2 tags describe.

    A span goes on as long as ``I-`` tags of its kind follow. Two conventions differ in what begins
    one: *strict* IOB2 knows ``B-`` alone, and an ``I-`` tag that continues nothing is nothing; the
    *lenient* one (the default of seqeval and of conlleval, and that of the paper's code) lets such
    an ``I-`` tag begin a span as well.

    Args:
        tags: ``O``, ``B-KIND`` or ``I-KIND`` for each word.
        strict: Which convention.

    Example:
        >>> sorted(labelled_spans(["B-PER", "I-PER", "O", "I-LOC"]))
        [Span(kind='LOC', start=3, end=4), Span(kind='PER', start=0, end=2)]
        >>> sorted(labelled_spans(["B-PER", "I-PER", "O", "I-LOC"], strict=True))
        [Span(kind='PER', start=0, end=2)]
    """
    spans = set()
    kind, start = "", 0  # of the span that is open; no kind: none is
    for position, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, tag_kind = tag.partition("-")
        if prefix == "I" and kind and tag_kind == kind:
            continue
        if kind:
            spans.add(Span(kind, start, position))
        begins = prefix == "B" or (prefix == "I" and not strict)
        kind, start = (tag_kind if begins else ""), position
    return spans


class SpanF1(Metric):
    """Micro-averaged F1 of labelled spans: a span is right if start, end and kind are.

    Keeps three counts and divides once, so batches and ranks of any size give one score. Without
    any span, gold or predicted, the score is 0, as in seqeval.

    Gold labels outside the inventory (id -1) cannot be told apart, nor predicted: each unbroken run
    of them is one gold span that no prediction matches. Words without an answer (predicted id -1,
    because a length limit cut them off) are taken as predicted ``O``.

    Args:
        labels: Names of the label ids, all of them ``O``, ``B-KIND`` or ``I-KIND``.
        strict: The convention; see :func:`labelled_spans`.

    Raises:
        LtsftError: If a label is no IOB2 tag.

    Example:
        >>> metric = SpanF1(["O", "B-PER", "I-PER"])
        >>> metric(torch.tensor([[1, 2, 0, 1]]), torch.tensor([[1, 2, 0, 0]]))
        tensor(0.6667)
    """

    higher_is_better = True
    full_state_update = False

    matched: Tensor
    predicted: Tensor
    gold: Tensor

    def __init__(self, labels: Sequence[str], *, strict: bool = False) -> None:
        super().__init__()
        for label in labels:
            prefix, dash, kind = label.partition("-")
            if label != OUTSIDE and not (prefix in ("B", "I") and dash and kind):
                raise LtsftError(
                    "`labels` is expected to hold `O`, `B-KIND` and `I-KIND` for spans, but got "
                    f"{label!r}; labels come with the task's fine-tuning: name one of entities, or "
                    "score these with `metric: accuracy`."
                )
        self.labels = tuple(labels)
        self.strict = strict
        for count in ("matched", "predicted", "gold"):
            self.add_state(count, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, gold: Tensor) -> None:
        """Count the spans of some sentences.

        Args:
            predictions: Predicted label ids [B, W]; -1 for no answer.
            gold: Gold label ids [B, W]; -1 for one outside the inventory, -100 where no word is.
        """
        for predicted_ids, gold_ids in zip(predictions.tolist(), gold.tolist(), strict=True):
            pairs = [(p, g) for p, g in zip(predicted_ids, gold_ids, strict=True) if g != PADDING]
            predicted = self._spans([OUTSIDE if p < 0 else self.labels[p] for p, _ in pairs])
            expected = self._spans(self._gold_tags([g for _, g in pairs]))
            self.matched += len(predicted & expected)
            self.predicted += len(predicted)
            self.gold += len(expected)

    def compute(self) -> Tensor:
        """F1 over all that was counted, between 0 and 1."""
        return 2 * self.matched / (self.predicted + self.gold).clamp(min=1)

    def _spans(self, tags: Sequence[str]) -> set[Span]:
        return labelled_spans(tags, strict=self.strict)

    def _gold_tags(self, ids: Sequence[int]) -> list[str]:
        unknown = "-".join(self.labels)  # a kind that is longer than each label's, hence none's
        return [
            self.labels[id]
            if id >= 0
            else f"{'I' if position and ids[position - 1] < 0 else 'B'}-{unknown}"
            for position, id in enumerate(ids)
        ]
