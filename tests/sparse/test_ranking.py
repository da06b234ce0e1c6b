"""Property: exactly K entries, those that a full stable sort would put first."""

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.sparse import select_largest
from ltsft.sparse.ranking import Streamed


def sorted_selection(scores, num_params):
    """The definition: sort all entries by falling score, ties by position, take the first K."""
    flat = torch.cat([score.flatten().double() for score in scores.values()])
    order = torch.sort(flat, descending=True, stable=True).indices[:num_params]
    selected = torch.zeros(len(flat), dtype=torch.bool)
    selected[order] = True
    parts = selected.split([score.numel() for score in scores.values()])
    return {n: part.view(s.shape) for (n, s), part in zip(scores.items(), parts, strict=True)}


def random_scores(kind, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (7, 5), "b": (11,), "c": (2, 3, 4), "d": (), "e": (0, 3)}
    scores = {n: torch.randn(s, generator=generator).abs() for n, s in shapes.items()}
    if kind == "tied":
        scores = {n: (s * 3).round() for n, s in scores.items()}
    if kind == "tiny":  # subnormal numbers in float32
        scores = {n: s * 1e-42 for n, s in scores.items()}
    if kind == "zero":
        scores = {n: torch.zeros_like(s) for n, s in scores.items()}
    if kind == "mostly zero":
        scores = {n: s * (s > 1.5) for n, s in scores.items()}
    return {n: s.to(dtype) for n, s in scores.items()}


@pytest.mark.parametrize("kind", ["distinct", "tied", "tiny", "zero", "mostly zero"])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
def test_equals_a_full_sort_for_every_k(kind, dtype):
    scores = random_scores(kind, dtype, seed=len(kind))
    total = sum(score.numel() for score in scores.values())
    for num_params in range(total + 1):
        mask = select_largest(scores, num_params)
        assert mask.num_selected == num_params
        for name, expected in sorted_selection(scores, num_params).items():
            assert torch.equal(mask[name], expected), (num_params, name)


def test_chunks_do_not_change_the_choice(monkeypatch):
    """Ties that run over the edges of chunks are still taken in order."""
    scores = random_scores("tied", torch.float32, seed=3)
    expected = {k: select_largest(scores, k) for k in range(60)}
    monkeypatch.setattr("ltsft.sparse.ranking._CHUNK_ENTRIES", 8)
    for num_params, mask in expected.items():
        again = select_largest(scores, num_params)
        assert all(torch.equal(again[name], mask[name]) for name in mask)


def test_negative_zero_ties_with_zero():
    mask = select_largest({"a": torch.tensor([-0.0, 0.0, 1.0])}, 2)
    assert mask["a"].tolist() == [True, False, True]


def test_scores_are_asked_for_anew_and_never_held():
    """A generator function is called once per pass: two digits of float32, mask."""
    calls = []

    def scores():
        calls.append(1)
        yield "a", torch.tensor([1.0, 2.0])

    assert select_largest(scores, 1)["a"].tolist() == [False, True]
    assert len(calls) == 3


@pytest.mark.parametrize("within", [None, {"a": torch.ones(50, dtype=torch.bool)}])
@pytest.mark.parametrize(
    ("start", "message"),
    [(1.0, "rank 20 was counted and not found again"), (1.3, "50 instead of 20 entries")],
)
def test_scores_that_differ_from_pass_to_pass_never_miss_k_silently(start, message, within):
    """By one unit in the last place; around 1.0 this changes the leading bits, around 1.3 not."""
    calls = []

    def scores():
        calls.append(1)
        towards = 2.0 if len(calls) % 2 else 0.0
        yield "a", torch.full((50,), start).nextafter(torch.tensor(towards))

    with pytest.raises(
        RuntimeError, match=f"{message}.*: the scores were not the same in each pass"
    ):
        select_largest(scores, 20, within)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_scores_that_cannot_be_ranked_are_refused_by_name(bad):
    with pytest.raises(LtsftError, match="`layer.weight` are expected to be finite"):
        select_largest({"fine": torch.ones(2), "layer.weight": torch.tensor([1.0, bad])}, 1)


@pytest.mark.parametrize("num_params", [-1, 4])
def test_impossible_k_is_refused(num_params):
    with pytest.raises(LtsftError, match="between 0 and the 3 maskable entries"):
        select_largest({"a": torch.ones(3)}, num_params)


def test_mixed_widths_are_refused():
    with pytest.raises(LtsftError, match="one width"):
        select_largest({"a": torch.ones(3), "b": torch.ones(3, dtype=torch.float64)}, 1)


@pytest.mark.parametrize("kind", ["distinct", "tied", "mostly zero"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32], ids=str)
def test_the_cut_lies_where_a_sort_says(kind, dtype):
    scores = {
        n: (s * 100 if not dtype.is_floating_point else s).to(dtype)
        for n, s in random_scores(kind, torch.float64, seed=5).items()
    }
    before = {name: score.clone() for name, score in scores.items()}
    falling = torch.cat([score.flatten() for score in scores.values()]).sort(descending=True)[0]
    for num_params in range(1, len(falling) + 1):
        cut = select_largest(scores, num_params).cut
        kept, left_out = falling[:num_params].tolist(), falling[num_params:].tolist()
        assert (cut.least, cut.greatest_left_out) == (kept[-1], left_out[0] if left_out else None)
        assert cut.num_ties == kept.count(kept[-1])
    assert all(torch.equal(scores[name], before[name]) for name in scores)


def test_scores_that_are_streamed_are_chosen_from_alike(monkeypatch):
    monkeypatch.setattr("ltsft.sparse.ranking._CHUNK_ENTRIES", 8)
    scores = random_scores("tied", torch.float32, seed=3)
    sizes = []

    def streamed():
        for name, score in scores.items():

            def piece(first, end, score=score):
                sizes.append(end - first)
                return score.flatten()[first:end]

            yield name, Streamed(piece, score.shape, score.dtype, score.device)

    for num_params in range(60):
        expected = select_largest(scores, num_params)
        mask = select_largest(streamed, num_params)
        assert all(torch.equal(mask[name], expected[name]) for name in scores)
        assert mask.cut == expected.cut
    assert max(sizes) == 8
    within = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    within["a"][:] = False
    assert not select_largest(streamed, 10, within)["a"].any()
