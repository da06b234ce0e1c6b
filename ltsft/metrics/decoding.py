"""From scores of arcs to heads: greedily, or as the best tree with exactly one root.

Head candidates are the root at index 0 and the words, word *i* at index *i* + 1. A tree has exactly
one word whose head is the root, as Universal Dependencies ask.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from ufal.chu_liu_edmonds import chu_liu_edmonds

from ltsft.batch import NO_ANSWER
from ltsft.errors import LtsftError


def greedy_heads(arc_scores: Tensor, word_mask: Tensor) -> Tensor:
    """Give each word its best candidate, whether or not a tree results.

    A word may even become its own head; the published evaluation of Ansell et al. (2022) is this.

    Args:
        arc_scores: Scores of the candidates, [B, W, W+1].
        word_mask: Which words were encoded, [B, W]; only these are candidates.

    Returns:
        Heads, [B, W]; -1 where `word_mask` is False. Equal scores: the lowest index wins.

    Example:
        >>> greedy_heads(torch.tensor([[[1.0, 0, 2], [0, 3, 1]]]), torch.tensor([[True, True]]))
        tensor([[2, 1]])
    """
    is_candidate = F.pad(word_mask, (1, 0), value=True)
    scores = arc_scores.masked_fill(~is_candidate.unsqueeze(1), float("-inf"))
    return scores.argmax(-1).masked_fill(~word_mask, NO_ANSWER)


def decode_trees(arc_scores: Tensor, word_mask: Tensor) -> Tensor:
    """Give each sentence its best tree with exactly one root.

    Of equally good ones it is that of :func:`greedy_heads` with arcs from a word to itself left out
    (the lowest index of equals), if that is a tree; else whichever the search comes to first.

    Args:
        arc_scores: Scores of the candidates, [B, W, W+1], on any device and of any type; minus
            infinity forbids an arc.
        word_mask: Which words were encoded, [B, W]; the tree spans these and no others.

    Returns:
        Heads, [B, W], on the device of `arc_scores`; -1 where `word_mask` is False.

    Raises:
        LtsftError: If a score is NaN or plus infinity, or a sentence has no tree.

    Example:
        >>> decode_trees(torch.tensor([[[1.0, 0, 2], [0, 3, 1]]]), torch.tensor([[True, True]]))
        tensor([[0, 1]])
    """
    scores = arc_scores.detach().to("cpu", torch.float64).numpy()
    masks = word_mask.cpu().numpy()
    heads, settled = _greedy_trees(scores, masks)
    for sentence in np.flatnonzero(~settled):
        words = np.flatnonzero(masks[sentence])
        candidates = np.concatenate([[0], words + 1])
        tree = _search(_checked(scores[sentence][np.ix_(words, candidates)]))
        heads[sentence, words] = candidates[tree]
    return torch.from_numpy(heads).to(arc_scores.device)


def _greedy_trees(
    scores: NDArray[np.float64], masks: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Step 1 of :func:`best_tree` for all sentences at once, and which of them it settles.

    Returns:
        Heads, [B, W], without meaning where a sentence is not settled; -1 where there is no word.
    """
    num_words = masks.shape[1]
    arcs = np.where(np.pad(masks, ((0, 0), (1, 0)), constant_values=True)[:, None], scores, -np.inf)
    itself = np.arange(num_words)
    arcs[:, itself, itself + 1] = -np.inf
    heads = arcs.argmax(-1)
    best = np.take_along_axis(arcs, heads[..., None], -1)[..., 0]
    # Where a word has a score that is no number, or infinity, `argmax` names one of them.
    settled = (np.isfinite(best) | ~masks).all(-1) & _are_trees(heads, masks)
    return np.where(masks, heads, NO_ANSWER), settled


def complete_trees(heads: Tensor, is_word: Tensor) -> Tensor:
    """Attach the words that trees leave out, so that every tree spans its whole sentence.

    They hang on the first word that is not the root. Of a word that was not encoded nothing is
    known, so no guess should earn a score. Usual ones do: of 14,348 words that a limit of 64
    sub-words cut off in the test sets of 21 treebanks, 20% hang on the word before and 17% on the
    root word, but none on the first word that is not the root.

    Args:
        heads: What :func:`decode_trees` returned, [B, W].
        is_word: Where there is a word, encoded or not, [B, W].

    Returns:
        Heads, [B, W]; -1 where there is no word. A sentence none of whose words was encoded has its
        first word for a root.

    Example:
        >>> is_word = torch.tensor([[True, True, True, False], [True, True, True, True]])
        >>> complete_trees(torch.tensor([[0, 1, -1, -1], [-1, -1, -1, -1]]), is_word)
        tensor([[ 0,  1,  2, -1],
                [ 0,  1,  1,  1]])
    """
    is_root, is_dependent = heads == 0, heads > 0
    first_of = torch.where(is_dependent.any(1, keepdim=True), is_dependent, is_root)
    # The first word if there is no tree.
    target = first_of.int().argmax(1, keepdim=True) + 1  # [B, 1]
    completed = torch.where(is_word & (heads == NO_ANSWER), target, heads)
    completed[:, 0].masked_fill_(is_word[:, 0] & ~is_root.any(1), 0)
    return completed


def best_tree(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Find the tree with exactly one root whose arcs have the largest sum.

    Three steps, each exact:

    1. Every word's best head, if these make a tree with one root: no tree can be better.
    2. The best tree with any number of roots (Chu and Liu, 1965; Edmonds, 1967), if it has one
       root: it is the best of a larger set.
    3. Else the best tree for each choice of the root word, all other arcs from the root being
       forbidden, and the best of these. A root word is passed over when even with the best heads
       of all other words, tree or not, it could not win; a few remain as a rule.

    Step 3 alters no score. The usual trick, a penalty on every arc from the root that outweighs all
    scores together, rounds small differences between roots away where one score is very large.

    Args:
        scores: Scores of one sentence, [n, n+1]; a word's arc to itself is never used. Minus
            infinity forbids an arc.

    Returns:
        Heads of the n words, [n].

    Raises:
        LtsftError: If a score is NaN or plus infinity, or no tree is left.

    Example:
        >>> best_tree(np.array([[5.0, 0, 1], [4.0, 2, 0]]))  # greedily both would be roots
        array([0, 1])
    """
    arcs = _checked(scores)
    greedy = arcs[1:].argmax(-1)
    return greedy if _is_allowed_tree(arcs, greedy) else _search(arcs)


def _checked(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores of one sentence, [n, n+1], as those of all arcs, [n+1, n+1]."""
    arcs = np.full((len(scores) + 1, len(scores) + 1), -np.inf)
    arcs[1:] = scores
    np.fill_diagonal(arcs, -np.inf)
    if not (arcs < np.inf).all():
        raise LtsftError(
            "`arc_scores` is expected to hold numbers below infinity, but got NaN or infinity: "
            "training has diverged; lower the learning rate, or train in float32."
        )
    return arcs


def _search(arcs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Steps 2 and 3 of :func:`best_tree`."""
    heads = _best_tree_with_any_roots(arcs)
    return heads if _is_allowed_tree(arcs, heads) else _best_over_root_words(arcs)


def is_tree(heads: NDArray[np.integer]) -> bool:
    """Whether heads form a tree with exactly one root.

    Args:
        heads: Heads of the words of one sentence, [n], each from 0 to n.

    Returns:
        True if exactly one head is 0 and every word reaches it; True for a sentence of no words.

    Example:
        >>> is_tree(np.array([0, 1])), is_tree(np.array([0, 0])), is_tree(np.array([0, 3, 2]))
        (True, False, False)
    """
    return bool(_are_trees(heads[None], np.ones((1, len(heads)), dtype=np.bool_))[0])


def _are_trees(heads: NDArray[np.integer], masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the heads of the words of each sentence form a tree with exactly one root, [B]."""
    num_sentences, num_words = masks.shape
    # All sentences in one row of numbers, each with its root before it.
    roots = np.arange(num_sentences)[:, None] * (num_words + 1)
    ancestors = np.zeros((num_sentences, num_words + 1), dtype=np.int64)
    ancestors[:, 1:] = np.where(masks, heads, 0)
    ancestors = (ancestors + roots).ravel()
    # Each round doubles the distance: a path in a tree has at most n arcs.
    for _ in range(num_words.bit_length()):
        ancestors = ancestors[ancestors]
    reach_root = (ancestors.reshape(num_sentences, -1) == roots).all(1)
    is_root = (heads == 0) & masks
    return reach_root & (is_root.sum(1) == masks.any(1))


def _best_over_root_words(arcs: NDArray[np.float64]) -> NDArray[np.int64]:
    best: NDArray[np.int64] | None = None
    best_total = -math.inf
    best_below_word = arcs[1:, 1:].max(-1)
    bounds = []
    for word in range(len(best_below_word)):
        others = np.delete(best_below_word, word)
        # `fsum` rounds once, so that a bound is never below a total it bounds.
        bounds.append(math.fsum([arcs[word + 1, 0], *others]))
    for word in np.argsort(bounds)[::-1]:
        if bounds[word] <= best_total:
            break
        with_one_root = arcs.copy()
        with_one_root[:, 0] = -np.inf
        with_one_root[word + 1, 0] = arcs[word + 1, 0]
        heads = _best_tree_with_any_roots(with_one_root)
        if _is_allowed_tree(with_one_root, heads):
            total = _total(arcs, heads)
            if total > best_total:
                best, best_total = heads, total
    if best is None:
        raise LtsftError(
            f"`arc_scores` is expected to allow a tree over the {len(bounds)} words of a sentence "
            "with exactly one word below the root, but too many arcs are minus infinity."
        )
    return best


def _best_tree_with_any_roots(arcs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Chu-Liu/Edmonds over [n+1, n+1]; anything at all if there is no tree."""
    # To the library NaN forbids an arc.
    heads, _ = chu_liu_edmonds(np.where(np.isneginf(arcs), np.nan, arcs))
    return np.asarray(heads[1:], dtype=np.int64)


def _is_allowed_tree(arcs: NDArray[np.float64], heads: NDArray[np.int64]) -> bool:
    return is_tree(heads) and _total(arcs, heads) > -math.inf


def _total(arcs: NDArray[np.float64], heads: NDArray[np.int64]) -> float:
    return math.fsum(arcs[np.arange(1, len(arcs)), heads])
