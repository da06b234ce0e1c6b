"""Artificial languages."""

from ltsft.data.artificial.family import Family, family
from ltsft.data.artificial.grammar import Sentence
from ltsft.data.artificial.language import Language
from ltsft.data.artificial.pairs import Pair
from ltsft.data.artificial.questions import Question

__all__ = ["Family", "Language", "Pair", "Question", "Sentence", "family"]
