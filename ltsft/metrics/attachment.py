"""Attachment scores of dependency parses: the official ones, and those of the paper's code.

UAS is the share of words with the right head; LAS asks for the right relation too. Words are
counted and division comes last, so that batches and ranks of any size give one score.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class AttachmentCounts(NamedTuple):
    """How many words have what right, int64 scalars.

    Args:
        attached: Words with the right head.
        labelled: Words with the right head and the right relation.
        words: Words that were asked for.
    """

    attached: Tensor
    labelled: Tensor
    words: Tensor


def count_attachments(
    heads: Tensor,
    relations: Tensor,
    gold_heads: Tensor,
    gold_relations: Tensor,
    *,
    root_arcs: bool = True,
) -> AttachmentCounts:
    """Count right heads and relations. Punctuation is counted like any other word.

    Args:
        heads: Predicted heads, any shape: 0 for the root, *i* + 1 for word *i*, -1 for no answer (a
            word cut off by a length limit), which is wrong.
        relations: Predicted relations *at these heads*, same shape, numbered without sub-types.
        gold_heads: Gold heads, same shape; -100 where there is no word.
        gold_relations: Gold relations, same shape; -1 for one outside the inventory, which no
            prediction gets right.
        root_arcs: Whether words whose gold head is the root are counted.

    Returns:
        The three counts.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> heads, relations = torch.tensor([0, 1, 1]), torch.tensor([5, 2, 2])
        >>> gold = torch.tensor([0, 1, 2]), torch.tensor([5, 3, 2])
        >>> [int(count) for count in count_attachments(heads, relations, *gold)]
        [2, 1, 3]
    """
    shapes = [tuple(ids.shape) for ids in (heads, relations, gold_heads, gold_relations)]
    if len(set(shapes)) > 1:
        raise ValueError(
            "`heads`, `relations`, `gold_heads` and `gold_relations` are expected to have one "
            f"shape, but got {', '.join(map(str, shapes))}."
        )
    is_word = gold_heads >= 0 if root_arcs else gold_heads > 0
    attached = is_word & (heads == gold_heads)
    labelled = attached & (relations == gold_relations) & (gold_relations >= 0)
    return AttachmentCounts(attached.sum(), labelled.sum(), is_word.sum())


class AttachmentScore(Metric):
    """LAS or UAS, from 0 to 1.

    The official one, for heads decoded to trees, is that of the CoNLL 2018 evaluation script and
    its successor `udtools` on gold words: every word counts, root and punctuation too; sub-types of
    relations do not; words without an answer are wrong. Without any word the score is 0, as there.

    The paper's convention, for *greedy* heads, leaves out `root_arcs`: the published code of Ansell
    et al. (2022) pads gold heads with mBERT's padding id, 0, which is also the head of root words,
    and so drops every root arc from right words and from all words; it takes each word's best head
    without asking for a tree. Their Table 2 very likely shows this score; it is for comparing with
    that table only. (The code also leaves out sentences that are too long; here the words cut off
    are wrong answers.)

    Args:
        labelled: Whether the relation has to be right too (LAS), or the head alone (UAS).
        root_arcs: Whether words whose gold head is the root are counted.

    Example:
        >>> las = AttachmentScore()
        >>> gold = torch.tensor([[0, 1, 2, -100]]), torch.tensor([[5, 3, 2, -100]])
        >>> las(torch.tensor([[0, 1, 1, -1]]), torch.tensor([[5, 2, 2, 0]]), *gold)
        tensor(0.3333, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    right: Tensor
    words: Tensor

    def __init__(self, *, labelled: bool = True, root_arcs: bool = True) -> None:
        super().__init__()
        self.labelled = labelled
        self.root_arcs = root_arcs
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("words", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self, heads: Tensor, relations: Tensor, gold_heads: Tensor, gold_relations: Tensor
    ) -> None:
        """Add a batch; arguments as in :func:`count_attachments`."""
        counts = count_attachments(
            heads, relations, gold_heads, gold_relations, root_arcs=self.root_arcs
        )
        self.right += counts.labelled if self.labelled else counts.attached
        self.words += counts.words

    def compute(self) -> Tensor:
        """Divide the counts.

        Returns:
            A scalar, in float64 so that it equals the official score to the last digit (float32 on
            Apple GPUs, which have no float64).
        """
        dtype = torch.float32 if self.words.device.type == "mps" else torch.float64
        return self.right.to(dtype) / self.words.clamp(min=1).to(dtype)
