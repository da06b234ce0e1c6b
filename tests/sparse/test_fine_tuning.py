"""The value: arithmetic against dense tensors; applied and reverted to the bit; refusals."""

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse.applied import base_digests


class Net(nn.Module):
    """An encoder with embeddings, a head, and optionally an output tied to the embeddings."""

    base_model_prefix = "encoder"

    def __init__(self, head="head", outputs=3, tied=False, dtype=torch.float32, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.ModuleDict({"emb": nn.Embedding(20, 4), "lin": nn.Linear(4, 4)})
        setattr(self, head, nn.Linear(4, outputs))
        if tied:
            self.out = nn.Linear(4, 20, bias=False)
            self.out.weight = self.encoder["emb"].weight
        self.to(dtype)


def sft(seed, k=9, whole=None, model=None, **metadata):
    """Random differences on the encoder of `Net`, as training would leave them."""
    model = model or Net()
    generator = torch.Generator().manual_seed(seed)
    entries = {}
    for name in ("encoder.emb.weight", "encoder.lin.weight"):
        shape = tuple(model.get_parameter(name).shape)
        size = torch.Size(shape).numel()
        indices = torch.randperm(size, generator=generator)[:k].sort().values
        entries[name] = SparseDelta(shape, indices, torch.randn(k, generator=generator))
    digests = base_digests(model, entries)
    return SparseFineTuning(
        entries, whole or {}, Metadata(base_digests=digests, base_model="net", **metadata)
    )


def bits(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_untouched(model, before):
    for name, value in bits(model).items():
        assert torch.equal(value.view(torch.uint8), before[name].view(torch.uint8)), name


def test_arithmetic_agrees_with_dense_tensors():
    a, b = sft(1), sft(2)
    for name in a.entries:
        dense_a, dense_b = a.entries[name].dense(), b.entries[name].dense()
        assert torch.equal((a + b).entries[name].dense(), dense_a + dense_b)
        assert torch.equal((a * 0.5).entries[name].dense(), dense_a * 0.5)
        union = ((a + b).entries[name].indices).tolist()
        both = set(a.entries[name].indices.tolist()) | set(b.entries[name].indices.tolist())
        assert union == sorted(both)
    assert a + b == b + a
    assert a * 1.0 == a
    assert 0.5 * a == a * 0.5
    assert a != b
    assert a != a * 2


def test_addition_keeps_positions_whose_sum_is_zero():
    a = sft(1)
    total = a + a * -1.0
    assert total.num_params == a.num_params
    assert all((delta.values == 0).all() for delta in total.entries.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_revert_leaves_every_bit_after_many_swaps(dtype):
    """Subtracting again would drift: measured 5.7% of entries after 5,000 swaps in float32."""
    model = Net(dtype=dtype)
    model.encoder["emb"].weight.data[0, 0] = -0.0
    before = bits(model)
    languages = [sft(seed) for seed in range(3)]
    task = sft(9, k=12)
    for step in range(200):
        with (
            task.apply(model, check_base=False),
            languages[step % 3].apply(model, check_base=False),
        ):
            assert not torch.equal(model.encoder["lin"].weight, before["encoder.lin.weight"])
    assert_untouched(model, before)


def test_applied_weights_are_base_plus_difference():
    model, a, b = Net(), sft(1), sft(2)
    before = bits(model)
    a.apply(model)
    b.apply(model)
    for name in a.entries:
        expected = (before[name] + a.entries[name].dense()) + b.entries[name].dense()
        assert torch.equal(model.get_parameter(name), expected)


def test_a_sum_applied_at_once_differs_from_one_by_one_by_rounding_only():
    one_by_one, at_once, a, b = Net(), Net(), sft(1), sft(2)
    a.apply(one_by_one)
    b.apply(one_by_one)
    (a + b).apply(at_once)
    for name in a.entries:
        torch.testing.assert_close(
            one_by_one.get_parameter(name), at_once.get_parameter(name), rtol=3e-7, atol=3e-7
        )


def test_a_difference_taken_and_applied_gives_the_trained_weights():
    """Up to one rounding, of the larger of start and end."""
    model, trained = Net(), Net()
    mask_of = sft(4, k=16)
    sft_entries = mask_of.entries
    initial = bits(model)
    for name, delta in sft_entries.items():
        flat = trained.get_parameter(name).data.view(-1)
        flat[delta.indices] += delta.values
    from ltsft.sparse import Mask

    mask = Mask.from_indices(
        {name: delta.indices for name, delta in sft_entries.items()},
        {name: torch.Size(delta.shape) for name, delta in sft_entries.items()},
    )
    taken = SparseFineTuning.from_difference(trained, initial, mask)
    assert taken.num_params == 32
    taken.apply(model)
    for name in sft_entries:
        got, expected = model.get_parameter(name), trained.get_parameter(name)
        larger = torch.maximum(expected.abs(), initial[name].abs())
        assert ((got - expected).abs() <= larger * torch.finfo(torch.float32).eps).all()


def test_a_selected_entry_that_did_not_move_is_kept():
    from ltsft.sparse import Mask

    model = Net()
    masks = {"encoder.lin.bias": torch.tensor([True, False, True, False])}
    taken = SparseFineTuning.from_difference(model, bits(model), Mask(masks))
    assert taken.num_params == 2
    assert taken.entries["encoder.lin.bias"].values.tolist() == [0.0, 0.0]


def test_with_statement_reverts_after_an_error_too():
    model = Net()
    before = bits(model)

    def fail():
        with sft(1).apply(model):
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert_untouched(model, before)


def test_heads_are_put_in_place_where_the_model_has_them():
    head = {"head.weight": torch.ones(3, 4), "head.bias": torch.ones(3)}
    task, model = sft(1, whole=head), Net()
    before = bits(model)
    with task.apply(model):
        assert torch.equal(model.head.weight, head["head.weight"])
    assert_untouched(model, before)
    with task.apply(model, whole=False):
        assert torch.equal(model.head.weight, before["head.weight"])
    other = Net(head="classifier")
    with task.apply(other):  # no such head: left out
        assert torch.equal(other.classifier.weight, Net(head="classifier").classifier.weight)


def test_task_plus_language_brings_the_head_of_the_task():
    task = sft(1, whole={"head.weight": torch.ones(3, 4), "head.bias": torch.ones(3)})
    language = sft(2, whole={"lm_head.weight": torch.ones(20, 4)})
    model = Net()
    with (task + language).apply(model):
        assert torch.equal(model.head.bias, torch.ones(3))


def test_a_bare_encoder_takes_names_with_the_models_prefix():
    class Bare(nn.Module):
        base_model_prefix = "encoder"

        def __init__(self):
            super().__init__()
            net = Net()
            self.emb, self.lin = net.encoder["emb"], net.encoder["lin"]

    bare, full, a = Bare(), Net(), sft(1)
    a.apply(bare)
    a.apply(full)
    assert torch.equal(bare.emb.weight, full.encoder["emb"].weight)


def test_digests_are_taken_once_and_survive_swapping(monkeypatch):
    """A language applied over a task is checked against the base, not against base plus task."""
    import ltsft.sparse.applied as module

    count = []
    digest = module.tensor_digest
    model, task, languages = Net(), sft(9), [sft(seed) for seed in range(3)]
    monkeypatch.setattr(module, "tensor_digest", lambda t: count.append(1) or digest(t))
    task.apply(model)
    for language in languages * 5:
        language.apply(model).revert()
    assert len(count) == 2  # two touched tensors


def test_training_between_swaps_is_noticed():
    """A swap must not make the digests from before a step of the optimizer trusted again."""
    model, change = Net(), sft(1)
    with change.apply(model):
        pass
    with torch.no_grad():
        model.get_parameter("encoder.lin.weight").add_(1.0)
    with change.apply(model, check_base=False):
        pass
    with pytest.raises(LtsftError, match="weights it was trained from"):
        change.apply(model)


def test_base_digests_see_through_what_is_applied():
    model = Net()
    expected = base_digests(model, ["encoder.emb.weight", "encoder.lin.weight"])
    sft(1).apply(model, check_base=False)
    sft(2).apply(model, check_base=False)
    assert base_digests(model, expected) == expected


class TestRefusals:
    """Each names what is wrong and leaves the model untouched."""

    def refused(self, fine_tuning, model, message, **settings):
        before = bits(model)
        with pytest.raises(LtsftError, match=message):
            fine_tuning.apply(model, **settings)
        assert_untouched(model, before)

    def test_wrong_base(self):
        self.refused(sft(1), Net(seed=7), r"weights it was trained from \(net\).*check_base=False")

    def test_wrong_base_is_accepted_when_asked(self):
        with sft(1).apply(Net(seed=7), check_base=False):
            pass

    def test_a_base_that_was_trained_on_in_between(self):
        model = Net()
        sft(1).apply(model).revert()
        model.encoder["emb"].weight.data += 1
        with torch.no_grad():
            model.encoder["emb"].weight += 1
        self.refused(sft(2), model, "weights it was trained from")

    def test_unknown_tensor(self):
        self.refused(sft(1), nn.Linear(1, 1), "Linear lacks 2 of 2, e.g. `encoder.emb.weight`")

    def test_wrong_shape(self):
        model = Net()
        model.encoder["emb"] = nn.Embedding(21, 4)
        self.refused(sft(1), model, r"shape \(20, 4\) as in training, but has \(21, 4\)")

    def test_wrong_head_shape(self):
        task = sft(1, whole={"head.weight": torch.ones(2, 4), "head.bias": torch.ones(2)})
        self.refused(task, Net(), r"`head.weight`.*shape \(2, 4\)")

    def test_half_a_head(self):
        task = sft(1, whole={"head.weight": torch.ones(3, 4), "head.extra": torch.ones(3)})
        self.refused(task, Net(), "the head `head` .* lacks `head.extra`")

    def test_missing_head_when_it_is_demanded(self):
        task = sft(1, whole={"other.weight": torch.ones(3, 4)})
        self.refused(task, Net(), "the head `other`", whole=True)

    def test_twice(self):
        model, a = Net(), sft(1)
        a.apply(model)
        self.refused(a, model, "applied once, but is in place already")
        self.refused(sft(1), model, "applied once, but is in place already")

    def test_tied_weights(self):
        self.refused(sft(1), Net(tied=True), "`encoder.emb.weight`.*ties it to `out.weight`")

    def test_tied_weights_that_were_tied_in_training(self):
        tied = sft(1, model=Net(tied=True), tied=["encoder.emb.weight", "out.weight"])
        with tied.apply(Net(tied=True)):
            pass

    def test_revert_out_of_order(self):
        model = Net()
        first, _ = sft(1).apply(model), sft(2).apply(model)
        with pytest.raises(LtsftError, match="last in, first out"):
            first.revert()

    def test_revert_after_training(self):
        model = Net()
        applied = sft(1).apply(model)
        model.encoder["lin"].weight.data += 1
        with pytest.raises(LtsftError, match="`encoder.lin.weight`.*was changed since"):
            applied.revert()

    def test_revert_twice_does_nothing(self):
        model = Net()
        before = bits(model)
        applied = sft(1).apply(model)
        applied.revert()
        applied.revert()
        assert_untouched(model, before)

    def test_adding_two_heads(self):
        a = sft(1, whole={"head.bias": torch.ones(3)})
        b = sft(2, whole={"head.bias": torch.zeros(3)})
        with pytest.raises(LtsftError, match="both bring `head.bias`.*without_whole"):
            a + b
        assert set((a + b.without_whole()).whole) == {"head.bias"}

    def test_adding_different_bases(self):
        with pytest.raises(LtsftError, match="one base model, but `encoder"):
            sft(1) + sft(2, model=Net(seed=5))

    def test_adding_different_shapes(self):
        a = SparseFineTuning({"w": SparseDelta((2,), torch.tensor([0]), torch.ones(1))})
        b = SparseFineTuning({"w": SparseDelta((3,), torch.tensor([0]), torch.ones(1))})
        with pytest.raises(LtsftError, match=r"one shape, but got \(2,\) and \(3,\)"):
            a + b

    @pytest.mark.parametrize(
        ("indices", "values", "message"),
        [
            (torch.tensor([1, 0]), torch.ones(2), "strictly increasing"),
            (torch.tensor([1, 1]), torch.ones(2), "strictly increasing"),
            (torch.tensor([0, 4]), torch.ones(2), "within the 4 entries"),
            (torch.tensor([-1, 0]), torch.ones(2), "within the 4 entries"),
            (torch.tensor([0, 1]), torch.ones(3), "hold 2 floating-point numbers"),
            (torch.tensor([0, 1]), torch.ones(2).long(), "hold 2 floating-point numbers"),
            (torch.tensor([0, 1], dtype=torch.int32), torch.ones(2), "vector of int64"),
            (torch.tensor([0, 1]), torch.tensor([1.0, torch.nan]), "finite"),
        ],
    )
    def test_malformed_differences(self, indices, values, message):
        with pytest.raises(LtsftError, match=message):
            SparseDelta((2, 2), indices, values)


def test_repr_has_counts():
    meta = {"task": "pos", "language": "en", "num_maskable": 200}
    assert repr(sft(1, **meta)) == (
        "SparseFineTuning(task='pos', language='en', 18 entries (9.00% of 200) in 2 tensors, "
        "0 whole tensors)"
    )


def test_metadata_of_a_sum_says_what_is_true_of_both():
    a = Metadata(base_model="m", task="pos", language="en", labels=["A"], tied=["x"])
    b = Metadata(base_model="m", task="masked-lm", language="hsb", tied=["x", "y"], num_params=3)
    both = a.combined(b)
    assert (both.base_model, both.task, both.language) == ("m", "pos+masked-lm", "en+hsb")
    assert both.labels == ["A"]
    assert both.tied == ["x"]
    assert both.num_params is None
    assert a.combined(Metadata(base_model="other")).base_model is None
