"""One LightningModule per task; they know nothing of phases or masks."""

from ltsft.tasks.base import Task
from ltsft.tasks.global_mean import GlobalMean
from ltsft.tasks.loss import SummedLoss, loss_where
from ltsft.tasks.masked_lm import MaskedLM
from ltsft.tasks.parser import Parser
from ltsft.tasks.question_answering import QuestionAnswering
from ltsft.tasks.sentence_classifier import SentenceClassifier
from ltsft.tasks.tagger import Tagger

__all__ = [
    "GlobalMean",
    "MaskedLM",
    "Parser",
    "QuestionAnswering",
    "SentenceClassifier",
    "SummedLoss",
    "Tagger",
    "Task",
    "loss_where",
]
