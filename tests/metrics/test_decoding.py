"""The best tree with one root, judged by listing all trees."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from ufal.chu_liu_edmonds import chu_liu_edmonds

from ltsft.errors import LtsftError
from ltsft.metrics import best_tree, decode_trees, greedy_heads, is_tree


def reaches_root(heads: tuple[int, ...], word: int) -> bool:
    for _ in heads:
        word = heads[word - 1]
        if word == 0:
            return True
    return False


@cache
def all_trees(num_words: int) -> np.ndarray:
    """Every tree with one root, [trees, n]."""
    trees = [
        heads
        for heads in itertools.product(range(num_words + 1), repeat=num_words)
        if heads.count(0) == 1 and all(reaches_root(heads, w + 1) for w in range(num_words))
    ]
    return np.array(trees)


def totals(scores: np.ndarray, trees: np.ndarray) -> np.ndarray:
    return scores[np.arange(len(scores)), trees].sum(-1)


def random_scores(kind: str, num_words: int, rng: np.random.Generator) -> np.ndarray:
    """Scores in steps of 2⁻²⁰, so that all sums are exact."""
    scores = rng.integers(-(2**22), 2**22, size=(num_words, num_words + 1)) / 2**20
    if kind == "greedy for the root":  # every word wants to be a root
        scores[:, 0] += 5
    elif kind == "far from the root":
        scores[:, 0] -= 5
    elif kind == "many ties":
        scores = rng.integers(-1, 2, size=scores.shape).astype(float)
    elif kind == "wide range":  # a penalty above 2³⁰ would round the roots' differences away
        scores[:, 0] = rng.integers(0, 4, size=num_words) / 2**20
        scores[rng.integers(num_words), 1 + rng.integers(num_words)] = 2**30
    elif kind == "forbidden arcs":
        scores[rng.random(scores.shape) < 0.4] = -math.inf
    return scores


@pytest.mark.parametrize("num_words", range(1, 6))
@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "greedy for the root",
        "far from the root",
        "many ties",
        "wide range",
        "forbidden arcs",
    ],
)
def test_best_of_all_trees(kind: str, num_words: int) -> None:
    """There are n^(n-1) trees with one root; the decoded one is among them, and none is better."""
    trees = all_trees(num_words)
    assert len(trees) == num_words ** (num_words - 1)
    rng = np.random.default_rng(num_words)
    for _ in range(100):
        scores = random_scores(kind, num_words, rng)
        best = totals(scores, trees).max()
        if best == -math.inf:
            with pytest.raises(LtsftError, match=rf"a tree over the {num_words} words"):
                best_tree(scores)
            continue
        heads = best_tree(scores)
        assert (trees == heads).all(-1).any()
        assert totals(scores, heads[None]).item() == best


@pytest.mark.parametrize("num_words", [20, 60, 150])
def test_long_sentences_match_a_penalty_on_root_arcs(num_words: int) -> None:
    """A penalty above any gain makes one root best; on these scores it loses nothing."""
    rng = np.random.default_rng(0)
    for shift in (0, 3):
        scores = rng.normal(size=(num_words, num_words + 1))
        scores[:, 0] += shift
        penalised = np.full((num_words + 1, num_words + 1), np.nan)
        penalised[1:] = scores
        penalised[1:, 0] -= 20 * num_words
        np.fill_diagonal(penalised, np.nan)
        expected, _ = chu_liu_edmonds(penalised)
        assert best_tree(scores).tolist() == expected[1:]


def test_is_tree_agrees_with_walking_up_from_every_word() -> None:
    for num_words in range(1, 5):
        trees = {tuple(heads) for heads in all_trees(num_words).tolist()}
        for heads in itertools.product(range(num_words + 1), repeat=num_words):
            assert is_tree(np.array(heads)) == (heads in trees)
    assert is_tree(np.arange(500))  # a chain, the deepest tree
    assert is_tree(np.array([], dtype=np.int64))


def test_greedy_is_kept_where_it_is_a_tree() -> None:
    """Then both decodings agree, ties included; elsewhere the tree has one root and no cycle."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(-3, 4, (300, 4, 5), generator=generator).float()
    mask = torch.ones(300, 4, dtype=torch.bool)
    greedy, trees = greedy_heads(scores, mask), decode_trees(scores, mask)
    agreed = 0
    for greedy_tree, tree in zip(greedy.numpy(), trees.numpy(), strict=True):
        assert is_tree(tree)
        if is_tree(greedy_tree):
            assert (tree == greedy_tree).all()
            agreed += 1
    assert 10 < agreed < 290


def test_batches_of_all_kinds_have_the_best_trees() -> None:
    """Judged by listing all trees, whichever sentences lie side by side; among equals likewise.

    Where each word's best head, the first of equals, makes a tree, it is that tree; elsewhere it is
    what a sentence alone gets.
    """
    rng = np.random.default_rng(0)
    kinds = ["plain", "greedy for the root", "far from the root", "many ties", "wide range"]
    num_settled = 0
    for _ in range(40):
        sentences = [random_scores(kind, rng.integers(1, 6), rng) for kind in kinds]
        scores = torch.full((len(kinds), 6, 7), math.nan, dtype=torch.float64)
        mask = torch.zeros(len(kinds), 6, dtype=torch.bool)
        for number, alone in enumerate(sentences):
            num_words = len(alone)
            scores[number, :num_words, : num_words + 1] = torch.from_numpy(alone)
            mask[number, :num_words] = True
        decoded = decode_trees(scores, mask)
        for alone, heads in zip(sentences, decoded.numpy(), strict=True):
            num_words = len(alone)
            tree = heads[:num_words]
            assert heads[num_words:].tolist() == [-1] * (6 - num_words)
            assert totals(alone, tree[None]).item() == totals(alone, all_trees(num_words)).max()
            assert tree.tolist() == best_tree(alone).tolist()
            others = alone.copy()
            others[np.arange(num_words), np.arange(num_words) + 1] = -math.inf
            greedy = [row.index(max(row)) for row in others.tolist()]
            if (all_trees(num_words) == greedy).all(-1).any():
                assert tree.tolist() == greedy
                num_settled += 1
    assert 40 < num_settled < 160


def test_a_word_is_its_own_head_only_greedily() -> None:
    scores = torch.tensor([[[0.0, 9.0]]])
    mask = torch.tensor([[True]])
    assert greedy_heads(scores, mask).tolist() == [[1]]
    assert decode_trees(scores, mask).tolist() == [[0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_batch_decodes_as_its_sentences_do(dtype: torch.dtype) -> None:
    """Words that were not encoded are no heads and have none, whatever their scores.

    Lengths 0 to 5, and one sentence with a gap.
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(7, 5, 6, generator=generator).to(dtype)
    mask = torch.arange(5) < torch.arange(7).unsqueeze(1)
    mask[6, 2] = False
    junk = torch.where(mask, 0.0, 99.0).to(dtype)
    scores[:, :, 1:] += junk.unsqueeze(1)
    trees, greedy = decode_trees(scores, mask), greedy_heads(scores, mask)
    for sentence in range(7):
        kept = mask[sentence].nonzero().flatten()
        candidates = torch.cat([torch.tensor([0]), kept + 1])
        alone = scores[sentence][kept][:, candidates]
        expected = torch.full((5,), -1)
        expected[kept] = candidates[best_tree(alone.double().numpy())]
        assert trees[sentence].tolist() == expected.tolist()
        if len(kept):
            expected[kept] = candidates[alone.argmax(-1)]
        assert greedy[sentence].tolist() == expected.tolist()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_diverged_scores_are_refused(bad: float) -> None:
    for place in range(3):
        scores = torch.tensor([[[9.0, 0, 0], [0, 9, 0]]]).repeat(2, 1, 1)  # greedily a tree
        scores[1, 0, place] = bad
        if place == 1:  # a word's arc to itself is not looked at
            assert decode_trees(scores, torch.ones(2, 2, dtype=torch.bool)).tolist() == [[0, 1]] * 2
            continue
        with pytest.raises(LtsftError, match="got NaN or infinity: training has diverged"):
            decode_trees(scores, torch.ones(2, 2, dtype=torch.bool))


def test_masked_scores_may_be_anything() -> None:
    """Scores of padding are minus infinity as the parser gives them, and may even be NaN."""
    scores = torch.tensor([[[1.0, 0.0, -math.inf], [math.nan, 0.0, -math.inf]]])
    assert decode_trees(scores, torch.tensor([[True, False]])).tolist() == [[0, -1]]
