"""Scores, each as pure functions and as a torchmetrics Metric that adds up over ranks."""

from ltsft.metrics.answers import AnswerScore, BestSpans, best_spans
from ltsft.metrics.attachment import AttachmentCounts, AttachmentScore, count_attachments
from ltsft.metrics.decoding import best_tree, complete_trees, decode_trees, greedy_heads, is_tree
from ltsft.metrics.mean_loss import MeanLoss, Perplexity
from ltsft.metrics.span_f1 import Span, SpanF1, labelled_spans
from ltsft.metrics.token_accuracy import TokenAccuracy

__all__ = [
    "AnswerScore",
    "AttachmentCounts",
    "AttachmentScore",
    "BestSpans",
    "MeanLoss",
    "Perplexity",
    "Span",
    "SpanF1",
    "TokenAccuracy",
    "best_spans",
    "best_tree",
    "complete_trees",
    "count_attachments",
    "decode_trees",
    "greedy_heads",
    "is_tree",
    "labelled_spans",
]
