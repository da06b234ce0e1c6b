"""The value: arithmetic against dense tensors; applied and reverted to the bit; refusals."""

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from tests.sparse.net import Net, assert_untouched, bits, sft


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


def test_task_plus_language_brings_the_head_of_the_task():
    task = sft(1, whole={"head.weight": torch.ones(3, 4), "head.bias": torch.ones(3)})
    language = sft(2, whole={"lm_head.weight": torch.ones(20, 4)})
    model = Net()
    with (task + language).apply(model):
        assert torch.equal(model.head.bias, torch.ones(3))


@pytest.mark.parametrize(
    ("size", "kept"), [(2**31 - 1, torch.int32), (2**31, torch.int64), (2**40, torch.int64)]
)
def test_positions_are_as_narrow_as_the_tensor_allows(size, kept):
    at, values = torch.tensor([0, 2**31 - 2]), torch.ones(2)
    delta = SparseDelta((size,), at, values)
    assert delta.indices.dtype == kept
    assert delta.indices.tolist() == at.tolist()
    assert delta == SparseDelta((size,), at.int(), values)


def test_arithmetic_reads_as_one_writes_it():
    a, b, c = sft(1), sft(2), sft(3)
    assert sum([a, b, c]) == a + b + c
    assert a - b == a + b * -1.0
    assert -a == a * -1.0
    assert a / 4 == a * 0.25
    with pytest.raises(TypeError):
        a - 1
    with pytest.raises(TypeError):
        1 + a


def test_what_it_was_made_of_may_change():
    entries = dict(sft(1).entries)
    made = SparseFineTuning(entries)
    entries.clear()
    assert made.num_params == sft(1).num_params


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
        with torch.no_grad():
            model.encoder["lin"].weight += 1
        with pytest.raises(LtsftError, match="`encoder.lin.weight`.*was changed since"):
            applied.revert()

    def test_revert_after_writing_past_version_counters(self):
        model = Net()
        applied = sft(1).apply(model)
        model.encoder["lin"].weight.data += 1
        with pytest.raises(LtsftError, match="`encoder.lin.weight`.*was changed since"):
            applied.revert(check=True)

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
            (torch.tensor([0, 1], dtype=torch.int16), torch.ones(2), "int32 or int64"),
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


def test_what_is_no_path_or_number_is_told(tmp_path, monkeypatch):
    a = sft(1)
    monkeypatch.setenv("HOME", str(tmp_path))
    for call, message in (
        (lambda: a * "b", r"multiplied by a number, but got 'b'; write `sft \* 0.5`"),
        (lambda: a.save(None), "named by a path .* but got None"),
        (lambda: a.save(tmp_path), r"is a folder; write `sft.save_pretrained\("),
        (lambda: SparseFineTuning.load(tmp_path), r"`SparseFineTuning.from_pretrained\("),
        (lambda: SparseFineTuning.from_pretrained(None), "named by a path .* but got None"),
        (lambda: SparseFineTuning.from_pretrained(a), "save first what is in memory only"),
    ):
        with pytest.raises(LtsftError, match=message):
            call()
    a.save_pretrained("~/of-home")
    assert (tmp_path / "of-home" / "sft.safetensors").is_file()
    assert SparseFineTuning.from_pretrained("~/of-home") == a
    assert a * torch.tensor(0.5) == a * 0.5
