"""Composition of sparse differences, judged by dense loops over single numbers."""

import itertools

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning, composition
from ltsft.sparse.composition import dare, drop_and_rescale, mean, ties, trim, weighted_sum
from ltsft.sparse.digest import entries_digest

SHAPES = {"a": (4, 5), "b": (7,), "c": (2, 2, 3)}
WEIGHTS = [0.5, 2.0, -1.25]


def sft(seed, shapes=SHAPES, share=0.6, dtype=torch.float64, **metadata):
    """About `share` of the entries, values on a coarse grid so that some cancel and some are 0."""
    generator = torch.Generator().manual_seed(seed)
    entries = {}
    for name, shape in shapes.items():
        size = torch.Size(shape).numel()
        indices = (torch.rand(size, generator=generator) < share).nonzero().flatten()
        values = torch.randint(-4, 5, (len(indices),), generator=generator).to(dtype) / 4
        if len(indices):
            entries[name] = SparseDelta(shape, indices, values)
    return SparseFineTuning(entries, metadata=Metadata(**metadata))


def three():
    """The third lacks one of the tensors."""
    a, b, c = (sft(seed) for seed in (1, 2, 3))
    entries = {name: delta for name, delta in c.entries.items() if name != "b"}
    return [a, b, SparseFineTuning(entries)]


def columns(sfts, weights):
    """Each entry that any has, as (name, position) -> the weighted values of those that have it."""
    found = {}
    for one, weight in zip(sfts, weights, strict=True):
        for name, delta in one.entries.items():
            for index, value in zip(delta.indices.tolist(), delta.values.tolist(), strict=True):
                found.setdefault((name, index), []).append(weight * value)
    return found


def entries_of(one):
    return {
        (name, index): value
        for name, delta in one.entries.items()
        for index, value in zip(delta.indices.tolist(), delta.values.tolist(), strict=True)
    }


def ties_by_hand(values):
    """Yadav et al. (2023), Algorithm 1, for one entry."""
    positive = sum(v for v in values if v > 0)
    negative = -sum(v for v in values if v < 0)
    if positive == negative:
        return 0.0
    agreeing = [v for v in values if (v > 0 if positive > negative else v < 0)]
    return sum(agreeing) / len(agreeing)


@pytest.mark.parametrize(
    ("method", "by_hand"),
    [
        (weighted_sum, sum),
        (mean, lambda values: sum(values) / len(values)),
        (ties, ties_by_hand),
    ],
    ids=["sum", "mean", "ties"],
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_each_entry_is_what_its_formula_says(method, by_hand, weights):
    """Exact: quarters and eighths add up without rounding, and quotients are rounded once."""
    sfts = three()
    expected = columns(sfts, weights or [1.0] * 3)
    assert any(len(values) == 3 for values in expected.values())
    assert any(len(values) == 1 for values in expected.values())
    assert weights or any(by_hand(values) == 0 != values[0] for values in expected.values())
    got = entries_of(method(sfts, weights))
    assert got == {entry: by_hand(values) for entry, values in expected.items()}


def test_the_sum_is_the_sum_of_dense_differences():
    sfts = three()
    composed = weighted_sum(sfts, WEIGHTS)
    for name, shape in SHAPES.items():
        expected = torch.zeros(shape, dtype=torch.float64)
        for one, weight in zip(sfts, WEIGHTS, strict=True):
            if name in one.entries:
                expected += weight * one.entries[name].dense()
        assert torch.equal(composed.entries[name].dense(), expected)


def test_a_sum_with_weight_one_is_addition():
    a, b, c = three()
    assert weighted_sum([a, b, c]) == a + b + c


@pytest.mark.parametrize("method", composition.METHODS.values(), ids=composition.METHODS)
def test_one_alone_is_itself_but_for_what_is_dropped(method):
    one = sft(1)
    settings = {"drop": 0.0} if method is dare else {}
    assert method([one], **settings) == one
    assert method([one], [3.0], **settings) == one * 3.0


@pytest.mark.parametrize("method", [weighted_sum, mean, ties], ids=["sum", "mean", "ties"])
def test_the_order_does_not_matter(method):
    """Exact, as these values add up without rounding."""
    results = [entries_of(method(list(order))) for order in itertools.permutations(three())]
    assert all(result == results[0] for result in results)


def test_ties_leaves_the_weaker_sign_out():
    """1 + 0.5 against -2: the sign is -, and only -2 counts; 0 has no say."""
    at = lambda value: SparseFineTuning(  # noqa: E731
        {"w": SparseDelta((3,), torch.tensor([1]), torch.tensor([value]))}
    )
    assert entries_of(ties([at(1.0), at(0.5), at(-2.0), at(0.0)])) == {("w", 1): -2.0}
    assert entries_of(ties([at(1.0), at(0.5), at(-1.0), at(0.0)])) == {("w", 1): 0.75}
    assert entries_of(ties([at(1.0), at(-1.0)])) == {("w", 1): 0.0}


@pytest.mark.parametrize("density", [0.0, 0.2, 0.5, 0.99, 1.0])
def test_trimming_keeps_the_largest_of_each(density):
    """Against a full sort of each fine-tuning's own entries."""
    sfts = [sft(seed, dtype=torch.float32) for seed in (1, 2)]
    for one in sfts:
        entries = entries_of(one)
        order = sorted(entries, key=lambda entry: -abs(entries[entry]))  # stable, so ties in order
        kept = order[: round(density * len(order))]
        assert entries_of(trim(one, density)) == {entry: entries[entry] for entry in kept}
    trimmed = [trim(one, density) for one in sfts]
    assert ties(sfts, density=density) == ties(trimmed)


def test_dare_drops_a_share_and_rescales_the_rest():
    """30,000 entries, within five standard deviations; every value left is v / (1 - p)."""
    one = sft(5, {"w": (100, 500)}, dtype=torch.float32)
    dropped = dare([one], drop=0.75, seed=3)
    values = entries_of(one)
    for entry, value in entries_of(dropped).items():
        assert value == values[entry] * 4
    expected, deviation = 0.25 * len(values), (len(values) * 0.25 * 0.75) ** 0.5
    assert abs(dropped.num_params - expected) < 5 * deviation


def test_dare_keeps_the_expectation():
    """Mean over 3,000 seeds against the plain sum, within five standard errors at each entry."""
    sfts, draws = three(), 3000
    expected = entries_of(weighted_sum(sfts))
    total, squares = dict.fromkeys(expected, 0.0), dict.fromkeys(expected, 0.0)
    for seed in range(draws):
        for entry, value in entries_of(dare(sfts, drop=0.5, seed=seed)).items():
            total[entry] += value
            squares[entry] += value**2
    for entry, value in expected.items():
        average = total[entry] / draws
        error = ((squares[entry] / draws - average**2) / draws) ** 0.5
        assert abs(average - value) <= 5 * error, entry


def test_dare_is_a_function_of_its_seed_and_draws_for_each():
    sfts = three()
    torch.manual_seed(1)
    first = dare(sfts, drop=0.5, seed=1)
    torch.manual_seed(2)
    assert dare(sfts, drop=0.5, seed=1) == first
    assert dare(sfts, drop=0.5, seed=2) != first
    one = sft(5, {"w": (1000,)}, share=1.0)
    kept = {entry for entry, value in entries_of(dare([one, one], drop=0.5)).items()}
    assert len(kept) > 650  # three quarters of 1000; half, if both had dropped the same


def test_dare_goes_with_other_ways_of_merging():
    generator = torch.Generator().manual_seed(0)
    thinned = [drop_and_rescale(one, 0.5, generator) for one in three()]
    expected = columns(thinned, [1.0] * 3)
    assert entries_of(ties(thinned)) == {e: ties_by_hand(values) for e, values in expected.items()}


@pytest.mark.parametrize("method", composition.METHODS.values(), ids=composition.METHODS)
def test_no_tensor_of_full_size_is_made(method):
    """Parameters of 2^61 entries, of which a few are selected."""
    shape = (2**31, 2**30)
    far = 2**61 - 1
    a = SparseDelta(shape, torch.tensor([3, far]), torch.tensor([1.0, 2.0]))
    b = SparseDelta(shape, torch.tensor([5, far]), torch.tensor([1.0, -6.0]))
    settings = {"drop": 0.0} if method is dare else {"density": 0.5} if method is ties else {}
    composed = method([SparseFineTuning({"w": a}), SparseFineTuning({"w": b})], **settings)
    got = entries_of(composed)
    expected = {
        "sum": {3: 1.0, 5: 1.0, far: -4.0},
        "mean": {3: 1.0, 5: 1.0, far: -2.0},
        "ties": {far: -6.0},
        "dare": {3: 1.0, 5: 1.0, far: -4.0},
    }[composed.metadata.extra["composition"]["method"]]
    assert got == {("w", index): value for index, value in expected.items()}


def test_differences_of_several_types_meet_in_the_widest():
    a, b = sft(1, dtype=torch.float16), sft(2, dtype=torch.float32)
    for method in (weighted_sum, mean, lambda both: ties(both, density=0.9)):
        shared = method([a, b]).entries["a"]
        assert shared.values.dtype == torch.float32


def test_the_metadata_say_what_was_composed_and_how():
    a = sft(1, task="pos", language="en", base_model="m", base_digests={"a": "x"})
    b = sft(2, task="masked-lm", language="hsb", base_model="m", base_digests={"b": "y"})
    composed = dare([a, b], [1.0, 0.5], drop=0.5, seed=4)
    meta = composed.metadata
    assert (meta.task, meta.language) == ("pos+masked-lm", "en+hsb")
    assert (meta.base_model, meta.base_digests) == ("m", {"a": "x", "b": "y"})
    about = {
        "method": "dare",
        "drop": 0.5,
        "seed": 4,
        "parts": [
            {
                "task": task,
                "language": language,
                "num_params": part.num_params,
                "weight": weight,
                "digest": entries_digest(part.entries),
            }
            for task, language, part, weight in (
                ("pos", "en", a, 1.0),
                ("masked-lm", "hsb", b, 0.5),
            )
        ],
    }
    assert meta.extra["composition"] == about
    again = ties([composed, sft(3)], density=0.5).metadata.extra["composition"]
    assert (again["method"], again["density"]) == ("ties", 0.5)
    assert again["parts"][0]["composition"] == about
    assert Metadata.from_json(meta.to_json()) == meta


def test_the_metadata_have_the_number_of_entries_there_are(tmp_path):
    """Of whatever was made of others, also read from a file, which says it too."""
    a, b = (sft(seed, {"w": (40, 50)}, num_params=-1, num_maskable=3000) for seed in (1, 2))
    made = {
        "sum": a + b,
        "scaled": a * 0.5,
        "weighted sum": weighted_sum([a, b]),
        "mean": mean([a]),
        "ties": ties([a], density=0.3),
        "ties of two": ties([a, b], density=0.3),
        "dare": dare([a], drop=0.5),
        "trimmed": trim(a, 0.3),
        "thinned": drop_and_rescale(a, 0.5, torch.Generator()),
    }
    for name, one in made.items():
        one.save(tmp_path / "sft.safetensors")
        assert one.metadata.num_params == len(entries_of(one)) > 0, name
        assert SparseFineTuning.load(tmp_path / "sft.safetensors").metadata == one.metadata, name
    assert a.metadata.num_params == -1  # values of the class are not changed
    assert made["dare"].metadata.num_maskable == 3000


def test_heads_are_joined_and_not_scaled(tmp_path):
    head = torch.ones(2)
    task = SparseFineTuning(sft(1).entries, {"head": head})
    composed = mean([task, sft(2)], [3.0, 1.0])
    assert torch.equal(composed.whole["head"], head)
    composed.save_pretrained(tmp_path)
    assert SparseFineTuning.from_pretrained(tmp_path) == composed
    with pytest.raises(LtsftError, match="at most one brings a head, but both bring `head`"):
        mean([task, SparseFineTuning({}, {"head": head * 2})])


def test_it_can_be_applied():
    model = nn.ParameterDict({name: nn.Parameter(torch.zeros(s)) for name, s in SHAPES.items()})
    composed = mean([sft(1, dtype=torch.float32), sft(2, dtype=torch.float32)])
    with composed.apply(model):
        for name, delta in composed.entries.items():
            assert torch.equal(model[name], delta.dense())


class TestMistakes:
    @pytest.mark.parametrize("method", composition.METHODS.values(), ids=composition.METHODS)
    def test_the_number_of_weights(self, method):
        with pytest.raises(LtsftError, match="one number for each .* but got 1 for 2"):
            method([sft(1), sft(2)], [1.0])
        with pytest.raises(LtsftError, match="one or more fine-tunings, but got 0 for 0"):
            method([])

    def test_other_base_models(self):
        a, b = (sft(n, base_model=m, base_digests={"a": m}) for n, m in ((1, "m"), (2, "n")))
        with pytest.raises(LtsftError, match="one base model, but `a` of m and of n differ"):
            ties([a, b])

    def test_other_shapes(self):
        with pytest.raises(LtsftError, match=r"`a` is expected to have one shape .*\(4, 5\) and"):
            mean([sft(1), sft(2, {"a": (5, 4)})])

    def test_shares_out_of_range(self):
        with pytest.raises(LtsftError, match="`density` is expected to be from 0 to 1 .* got 1.5"):
            ties([sft(1)], density=1.5)
        with pytest.raises(LtsftError, match="`drop` .* at least 0 and below 1 .* but got 1.0"):
            dare([sft(1)], drop=1.0)
