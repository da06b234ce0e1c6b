"""Answers to questions: the best span of a text, and how well an answer agrees with the gold ones.

Exact match and F1 over words as in the official script of SQuAD (Rajpurkar et al., 2016): case,
ASCII punctuation, the English articles and runs of blanks do not count, and of several gold answers
the best one does. XQuAD is scored so as well; in languages without blanks between words the two
scores are then nearly the same.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn.functional import pad
from torchmetrics.text import SQuAD
from typing_extensions import override


class BestSpans(NamedTuple):
    """The best span of each window; window i scores ``scores[i]``.

    Args:
        scores: Start logit plus end logit [W]; -inf for a window without an allowed position.
        starts: Position of the first sub-word [W].
        ends: Position of the last sub-word [W].
    """

    scores: Tensor
    starts: Tensor
    ends: Tensor


def best_spans(
    start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int
) -> BestSpans:
    """Find the span with the largest sum of start and end logit in each window, among all spans.

    Args:
        start_logits: [W, T].
        end_logits: [W, T].
        allowed: Where spans may start and end [W, T], bool; one stretch in each window.
        max_length: Longest span, in sub-words.

    Example:
        >>> from torch import tensor
        >>> start, end = tensor([[9.0, 1.0, 3.0]]), tensor([[0.0, 5.0, 2.0]])
        >>> best_spans(start, end, tensor([[False, True, True]]), 2)
        BestSpans(scores=tensor([6.]), starts=tensor([1]), ends=tensor([1]))
    """
    nowhere = float("-inf")
    start = start_logits.float().masked_fill(~allowed, nowhere)
    end = end_logits.float().masked_fill(~allowed, nowhere)
    # ends[w, s, d] is the logit of a span from s that is d + 1 long
    ends = pad(end, (0, max_length - 1), value=nowhere).unfold(1, max_length, 1)
    scores, best = (start.unsqueeze(-1) + ends).flatten(1).max(dim=1)
    starts = best // max_length
    return BestSpans(scores, starts, starts + best % max_length)


class AnswerScore(SQuAD):
    """Mean agreement of answers with gold answers, between 0 and 1.

    Sums over questions and divides once, so batches and ranks of any size give one score. A
    question without a gold answer (SQuAD 2.0) is answered rightly by an empty text, as in that
    version's script.

    Args:
        name: ``f1`` or ``exact_match``.

    Example:
        >>> f1 = AnswerScore("f1")
        >>> f1(["the red Dog!", ""], [["Red dog", "a cat"], []])
        tensor(1.)
        >>> f1(["red dog"], [["dog", "dogs"]])
        tensor(0.6667)
    """

    def __init__(self, name: Literal["f1", "exact_match"]) -> None:
        super().__init__()
        self.name = name

    @override
    def update(  # type: ignore[override]
        self, answers: Sequence[str], gold: Sequence[Sequence[str]]
    ) -> None:
        """Score the answers to some questions.

        Args:
            answers: An answer to each question.
            gold: Gold answers to each question.
        """
        pairs = list(enumerate(zip(answers, gold, strict=True)))
        super().update(
            [{"id": str(number), "prediction_text": answer} for number, (answer, _) in pairs],
            [
                {"id": str(number), "answers": {"text": list(texts) or [""]}}
                for number, (_, texts) in pairs
            ],
        )

    @override
    def compute(self) -> Tensor:  # type: ignore[override]
        """The mean over all questions that were added."""
        return super().compute()[self.name] / 100
