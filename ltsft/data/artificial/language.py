"""One artificial language: sentences, raw text, pairs and questions of any number."""

import random
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

from ltsft.data.artificial.grammar import Grammar, Sentence
from ltsft.data.artificial.meaning import draw_clause
from ltsft.data.artificial.pairs import LABELS, Label, Pair, draw_hypothesis, draw_premise
from ltsft.data.artificial.questions import RELATIONS, Question, ask, draw_text
from ltsft.errors import LtsftError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Language:
    """A language of a family.

    What number i of a split is depends on the family's seed, the language, the split and i alone:
    asking for more gives the same beginning. A sentence belongs to one split by a
    checksum of its text, so no sentence is in two of them.

    Args:
        name: the language's name.
        grammar: how it says things.
        seed: the family's seed.
    """

    name: str
    grammar: Grammar
    seed: int

    def sentences(self, num_sentences: int, split: Split = "train") -> list[Sentence]:
        """The first sentences of a split, annotated.

        Args:
            num_sentences: how many.
            split: "train", "validation" or "test".

        Returns:
            As many sentences as asked for.

        Raises:
            LtsftError: if the number is negative or there is no such split.
        """
        _check(num_sentences, split)
        return [self._sentence(index, split) for index in range(num_sentences)]

    def text(self, num_sentences: int, split: Split = "train") -> list[str]:
        """Raw text: one line for each of `sentences`, with blanks between words."""
        return [sentence.text for sentence in self.sentences(num_sentences, split)]

    def pairs(self, num_pairs: int, split: Split = "train") -> list[Pair]:
        """The first pairs of a split for natural language inference.

        Of each three pairs in a row one is an entailment, one neutral and one a contradiction.

        Args:
            num_pairs: how many.
            split: "train", "validation" or "test"; no premise is in two of them.

        Returns:
            As many pairs as asked for.

        Raises:
            LtsftError: if the number is negative or there is no such split.
        """
        _check(num_pairs, split)
        return [self._pair(index, split) for index in range(num_pairs)]

    def questions(self, num_questions: int, split: Split = "train") -> list[Question]:
        """The first questions of a split, each about a text of its own.

        Args:
            num_questions: how many.
            split: "train", "validation" or "test"; no text is in two of them.

        Returns:
            As many questions as asked for.

        Raises:
            LtsftError: if the number is negative or there is no such split.
        """
        _check(num_questions, split)
        return [self._question(index, split) for index in range(num_questions)]

    def _sentence(self, index: int, split: Split) -> Sentence:
        rng = random.Random(f"{self.seed}/{self.name}/sentence/{split}/{index}")
        while True:
            sentence = self.grammar.sentence(draw_clause(rng))
            if split_of(sentence.text) == split:
                return sentence

    def _pair(self, index: int, split: Split) -> Pair:
        label = self._label(index, split)
        rng = random.Random(f"{self.seed}/{self.name}/pair/{split}/{index}")
        while True:
            clause = draw_premise(rng)
            premise = self.grammar.sentence(clause).text
            if split_of(premise) != split:
                continue
            hypothesis = draw_hypothesis(rng, clause, label)
            if hypothesis is not None:
                return Pair(premise, self.grammar.sentence(hypothesis).text, label)

    def _question(self, index: int, split: Split) -> Question:
        rng = random.Random(f"{self.seed}/{self.name}/question/{split}/{index}")
        while True:
            clauses, asked = draw_text(rng)
            sentences = [self.grammar.sentence(clause) for clause in clauses]
            question = ask(sentences, asked, rng.choice(RELATIONS))
            if split_of(question.context) == split:
                return question

    def _label(self, index: int, split: Split) -> Label:
        triple, place = divmod(index, len(LABELS))
        labels = list(LABELS)
        random.Random(f"{self.seed}/{self.name}/labels/{split}/{triple}").shuffle(labels)
        return labels[place]


def split_of(text: str) -> Split:
    """The split that a sentence belongs to, the same in every process and on every machine."""
    return SPLITS[zlib.crc32(text.encode()) % len(SPLITS)]


def _check(number: int, split: str) -> None:
    if split not in SPLITS:
        raise LtsftError(f"`split` is expected to be one of {', '.join(SPLITS)}, but got {split!r}")
    if number < 0:
        raise LtsftError(f"the number of sentences is expected to be 0 or more, but got {number}")
