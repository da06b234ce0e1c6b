"""The head of the shallow biaffine dependency parser of Glavaš and Vulić (2021), without MLPs.

Words are dependents; their head candidates are the root, at index 0, and the words, word *i* at
index *i* + 1, as in CoNLL-U. The parameters have the names and shapes of the files published with
Ansell et al. (2022): ``biaffine_arcs.weight`` [1, H+1, H], ``biaffine_rels.weight`` [R, H+1, H+1].
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MAX_PAIRS = 512
"""Pairs scored at once: 512 x 37 relations x 769 features are 58 MB in float32. Of twice as many
each took a quarter longer: so large a tensor is new memory each time."""


class Biaffine(nn.Module):
    """Scores of pairs of vectors, xᵀ W y, with a constant 1 appended to either side.

    The weight starts at zero. Scores are computed in float32 or wider, also under autocast: they
    decide between neighbouring candidates and cost little beside the encoder.

    Args:
        in_features: H, the size of both vectors.
        out_features: O, the number of scores of a pair.
        bias_x: Whether x has a 1 appended.
        bias_y: Whether y has a 1 appended.

    Example:
        >>> biaffine = Biaffine(4, out_features=2)
        >>> tuple(biaffine(torch.randn(1, 3, 4), torch.randn(1, 5, 4)).shape)
        (1, 2, 3, 5)
    """

    def __init__(
        self, in_features: int, out_features: int = 1, bias_x: bool = True, bias_y: bool = True
    ) -> None:
        super().__init__()
        self.bias_x = bias_x
        self.bias_y = bias_y
        self.weight = nn.Parameter(
            torch.zeros(out_features, in_features + bias_x, in_features + bias_y)
        )

    def extra_repr(self) -> str:
        """Sizes, for the module's `repr`."""
        out_features, x_features, _ = self.weight.shape
        return (
            f"in_features={x_features - self.bias_x}, out_features={out_features}, "
            f"bias_x={self.bias_x}, bias_y={self.bias_y}"
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Score every x with every y.

        Args:
            x: Vectors, [B, X, H].
            y: Vectors, [B, Y, H].

        Returns:
            Scores, [B, O, X, Y].
        """
        with torch.autocast(x.device.type, enabled=False):
            x, y, weight = self._operands(x, y)
            # One matrix at a time: all at once would hold [B, X, O, H], the largest tensor by far.
            return torch.stack([x @ matrix @ y.mT for matrix in weight], dim=1)

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """Score each x with the y in the same place.

        Args:
            x: Vectors, [N, H].
            y: Vectors, [N, H].

        Returns:
            Scores, [N, O].
        """
        with torch.autocast(x.device.type, enabled=False):
            x, y, weight = self._operands(x, y)
            # `F.bilinear` is the same function, but its backward was 40 times slower (37 relations
            # of a base model's size on a CPU). In chunks, as W y takes [N, O, H].
            chunks = zip(x.split(_MAX_PAIRS), y.split(_MAX_PAIRS), strict=True)
            return torch.cat(
                [torch.einsum("ni,noi->no", x, _weighted(weight, y)) for x, y in chunks]
            )

    def grouped(self, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """Score each x with a row of y; W y, most of the work, is made once for neighbours.

        Args:
            x: Vectors, [N, H].
            y: Vectors, [M, H].
            rows: Which of them goes with each x, [N]; best in order.

        Returns:
            Scores, [N, O].
        """
        with torch.autocast(x.device.type, enabled=False):
            x, y, weight = self._operands(x, y)
            chunks = zip(x.split(_MAX_PAIRS), rows.split(_MAX_PAIRS), strict=True)
            return torch.cat([_score_groups(weight, x, y, rows) for x, rows in chunks])

    def _operands(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        x = F.pad(x.to(dtype), (0, 1), value=1.0) if self.bias_x else x.to(dtype)
        y = F.pad(y.to(dtype), (0, 1), value=1.0) if self.bias_y else y.to(dtype)
        return x, y, self.weight.to(dtype)


def _weighted(weight: Tensor, y: Tensor) -> Tensor:
    """W y of each y, [N, O, H]."""
    return F.linear(y, weight.flatten(0, 1)).unflatten(-1, weight.shape[:2])


def _score_groups(weight: Tensor, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    distinct, counts = rows.unique_consecutive(return_counts=True)
    # [groups, largest group]. To pad groups of x copies less than to repeat W y for each x.
    filled = torch.arange(max(counts.tolist(), default=0), device=x.device) < counts.unsqueeze(1)
    groups = x.new_zeros(*filled.shape, x.shape[-1])
    groups[filled] = x
    return (groups @ _weighted(weight, y[distinct]).mT)[filled]


class EncodedWords(NamedTuple):
    """What a parser scores.

    Args:
        words: Vectors of the words, [B, W, H].
        root: Vector of the root, [B, H].
    """

    words: Tensor
    root: Tensor

    def candidates(self) -> Tensor:
        """Vectors of the head candidates, [B, W+1, H]: the root, then the words."""
        return torch.cat([self.root.unsqueeze(1), self.words], dim=1)


class ParserLoss(NamedTuple):
    """Cross-entropies of a parser, each a sum over words.

    Args:
        arcs: Of the gold head among the candidates.
        relations: Of the gold relation, at the gold head.
        num_words: Words that have a loss of their arc, by which both are divided.
    """

    arcs: Tensor
    relations: Tensor
    num_words: Tensor

    @property
    def total(self) -> Tensor:
        """The sum whose mean per word is minimised."""
        return self.arcs + self.relations


class BiaffineHead(nn.Module):
    """Scores of arcs and relations from vectors of words: two biaffine maps and nothing else.

    In every method `word_mask`, [B, W], is True where a word was encoded: not padding, and not cut
    off by a length limit. A word without sub-words that lies within the limit counts as encoded.

    Args:
        hidden_size: H, the size of the vectors.
        num_relations: R, the number of relations: 37 universal ones; 38 in the authors' files,
            whose first is ``_``.
    """

    def __init__(self, hidden_size: int, num_relations: int) -> None:
        super().__init__()
        self.biaffine_arcs = Biaffine(hidden_size, bias_y=False)
        self.biaffine_rels = Biaffine(hidden_size, num_relations)

    def arc_scores(self, encoded: EncodedWords, word_mask: Tensor) -> Tensor:
        """Score every head candidate of every word: (x, 1)ᵀ W y.

        Args:
            encoded: Vectors of the words and the root.
            word_mask: Which words were encoded, [B, W].

        Returns:
            Scores in float32 or wider, [B, W, W+1]; minus infinity where the candidate is a word
            that was not encoded. The root is always a candidate, so that no softmax is NaN. A word
            is among its own candidates, as in the published parsers; decoding to a tree leaves that
            arc out.
        """
        scores = self.biaffine_arcs(encoded.words, encoded.candidates()).squeeze(1)
        is_candidate = F.pad(word_mask, (1, 0), value=True)  # [B, W+1]
        return scores.masked_fill(~is_candidate.unsqueeze(1), float("-inf"))

    def relation_scores(self, encoded: EncodedWords, heads: Tensor) -> Tensor:
        """Score the relations of each word to some heads: (x, 1)ᵀ Wᵣ (y, 1).

        Most of what is done to parse a word is done here, so nothing is done twice: padding costs
        nothing, an arc named several times is scored once, and arcs share their head's part.

        Args:
            encoded: Vectors of the words and the root.
            heads: Indices of each word's heads, [B, W, C]; negative for none.

        Returns:
            Scores in float32 or wider, [B, W, C, R]; 0 where there is no head.
        """
        has_head = heads >= 0
        candidates = encoded.candidates()
        num_words, num_candidates = heads.shape[1], candidates.shape[1]
        sentences, words, _ = has_head.nonzero(as_tuple=True)
        # Numbered by head first, so that those of one head are neighbours.
        numbers = (sentences * num_candidates + heads[has_head]) * num_words + words
        arcs, places = numbers.unique(return_inverse=True)
        heads_of_arcs = arcs // num_words
        words_of_arcs = heads_of_arcs // num_candidates * num_words + arcs % num_words
        of_arcs = self.biaffine_rels.grouped(
            encoded.words.flatten(0, 1)[words_of_arcs], candidates.flatten(0, 1), heads_of_arcs
        )
        scores = of_arcs.new_zeros(*heads.shape, of_arcs.shape[-1])
        scores[has_head] = of_arcs[places]
        return scores

    def all_relation_scores(self, encoded: EncodedWords) -> Tensor:
        """Score the relations of each word to every head candidate, padding too.

        Needs W+1 times the memory of :meth:`relation_scores`, and training never uses it.

        Args:
            encoded: Vectors of the words and the root.

        Returns:
            Scores in float32 or wider, [B, W, W+1, R].
        """
        return self.biaffine_rels(encoded.words, encoded.candidates()).permute(0, 2, 3, 1)

    def loss(
        self, encoded: EncodedWords, word_mask: Tensor, heads: Tensor, relations: Tensor
    ) -> ParserLoss:
        """Compute the losses of gold heads, and of gold relations at the gold heads.

        Arcs from the root count like all others, whatever the padding id of the model: gold heads
        have a padding value of their own.

        Args:
            encoded: Vectors of the words and the root.
            word_mask: Which words were encoded, [B, W].
            heads: Gold heads, [B, W]; negative for padding.
            relations: Gold relations, [B, W]; negative for padding, and for a relation outside the
                inventory, which has no loss.

        Returns:
            The two sums. A word that was not encoded has no loss, nor has a word whose head was
            not: no candidate would be right.
        """
        has_arc, has_relation = _are_scored(word_mask, heads, relations)
        return ParserLoss(
            _summed_cross_entropy(self.arc_scores(encoded, word_mask)[has_arc], heads[has_arc]),
            _summed_cross_entropy(
                self.biaffine_rels.paired(*_arcs(encoded, heads, has_relation)),
                relations[has_relation],
            ),
            num_words=has_arc.sum(),
        )


def loss_of_scores(
    arc_scores: Tensor,
    relation_scores: Tensor,
    word_mask: Tensor,
    heads: Tensor,
    relations: Tensor,
) -> ParserLoss:
    """The :meth:`~BiaffineHead.loss` where what it takes is known already.

    Args:
        arc_scores: Of every head candidate of every word, [B, W, W+1].
        relation_scores: Of every word at its gold head, [B, W, R].
        word_mask: Which words were encoded, [B, W].
        heads: Gold heads, [B, W].
        relations: Gold relations, [B, W].
    """
    has_arc, has_relation = _are_scored(word_mask, heads, relations)
    return ParserLoss(
        _summed_cross_entropy(arc_scores[has_arc], heads[has_arc]),
        _summed_cross_entropy(relation_scores[has_relation], relations[has_relation]),
        num_words=has_arc.sum(),
    )


def _are_scored(word_mask: Tensor, heads: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
    """Which words have a loss of their arc, and which of their relation, both [B, W]."""
    is_candidate = F.pad(word_mask, (1, 0), value=True)
    has_arc = word_mask & (heads >= 0) & is_candidate.gather(1, heads.clamp(min=0))
    return has_arc, has_arc & (relations >= 0)


def _arcs(encoded: EncodedWords, heads: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [N, H] of the dependents and of the heads of the N chosen arcs."""
    sentences, words = chosen.nonzero(as_tuple=True)
    # Indexing, not `gather`: words share heads, and the backward of `gather` adds their gradients
    # in another order in every run on a GPU.
    return encoded.words[sentences, words], encoded.candidates()[sentences, heads[chosen]]


def _summed_cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Sum over N rows; 0, with a gradient of 0, over none."""
    return F.cross_entropy(scores, targets, reduction="sum")
