"""A fine-tuning that is in place comes off bit for bit, and goes only where it belongs."""

import copy
import dataclasses
import gc
import hashlib
import random
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import ltsft.sparse.applied as applied_module
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Applied,
    LargestChange,
    Metadata,
    SparseDelta,
    SparseFineTuning,
    Ticket,
    composition,
)
from ltsft.sparse.ledger import base_digests
from tests.sparse.net import Net, assert_untouched, bits, sft


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("piece_entries", [4, 1 << 20])
def test_switching_at_random_is_reverting_and_applying(monkeypatch, dtype, piece_entries):
    """Whatever comes after what, with heads and without, and however it is cut into pieces."""
    monkeypatch.setattr(applied_module, "_PIECE_ENTRIES", piece_entries)
    model, chance = Net(dtype=dtype), random.Random(7)
    before = bits(model)
    choices = [sft(seed, k=k) for seed, k in enumerate([1, 3, 8, 12])]
    head = {"head.weight": torch.full((3, 4), 5.0), "head.bias": torch.full((3,), 6.0)}
    sparse = {"head.weight": SparseDelta((3, 4), torch.tensor([0, 7]), torch.tensor([1.0, 2.0]))}
    choices.append(sft(5, whole=head))
    choices.append(dataclasses.replace(choices[0], entries=choices[0].entries | sparse))
    expected = []
    for choice in choices:
        with choice.apply(model, check_base=False):
            expected.append(bits(model))
    handle = choices[0].apply(model, check_base=False)
    for _ in range(500):
        number = chance.randrange(len(choices))
        handle = handle.switch(choices[number], check_base=False)
        assert_untouched(model, expected[number])
    handle.revert()
    assert_untouched(model, before)


def test_models_of_inference_mode_are_switched_too():
    """Their tensors have no version counters, so values are looked at."""
    with torch.inference_mode():
        model = Net()
        before = bits(model)
        handle = sft(1).apply(model).switch(sft(2))
        handle.revert()
        assert_untouched(model, before)
        handle = sft(1).apply(model)
        model.get_parameter("encoder.lin.weight").add_(1.0)
        with pytest.raises(LtsftError, match="was changed since"):
            handle.revert()


def test_a_switch_that_is_refused_leaves_all_in_place():
    model, task, first, second = Net(), sft(9), sft(1), sft(2)
    before = bits(model)
    handle = first.apply(model)
    with task.apply(model), pytest.raises(LtsftError, match="last in, first out"):
        handle.switch(second)
    placed = bits(model)
    digests = dict.fromkeys(second.metadata.base_digests, "0" * 64)
    metadata = dataclasses.replace(second.metadata, base_digests=digests)
    foreign = dataclasses.replace(second, metadata=metadata)
    with pytest.raises(LtsftError, match="weights it was trained from"):
        handle.switch(foreign)
    assert_untouched(model, placed)
    handle.revert()
    assert_untouched(model, before)
    with pytest.raises(LtsftError, match="is expected to be in place, but was reverted"):
        handle.switch(second)


def test_a_switch_notices_training():
    model = Net()
    handle = sft(1).apply(model)
    with torch.no_grad():
        model.get_parameter("encoder.lin.weight").add_(1.0)
    with pytest.raises(LtsftError, match="was changed since"):
        handle.switch(sft(2))


def test_training_of_what_is_not_touched_may_go_on():
    """Then values are looked at, and are as they were written."""
    model, change = Net(), sft(1)
    handle = change.apply(model)
    flat = model.get_parameter("encoder.lin.weight").view(-1)
    free = sorted(
        set(range(flat.numel())) - set(change.entries["encoder.lin.weight"].indices.tolist())
    )
    with torch.no_grad():
        flat[free[0]] += 1.0
    trained = flat[free[0]].item()
    handle.switch(sft(2), check_base=False).revert()
    assert flat[free[0]].item() == trained


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
    import ltsft.sparse.ledger as module

    count = []
    digest = module.tensor_digest
    model, task, languages = Net(), sft(9), [sft(seed) for seed in range(3)]
    monkeypatch.setattr(module, "tensor_digest", lambda *a: count.append(1) or digest(*a))
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


def test_digests_of_earlier_versions_are_checked_still():
    """They were SHA-256; also in a sum with a fine-tuning of today."""
    model, now = Net(), sft(2)
    digests = {}
    for name in now.entries:
        weight = model.get_parameter(name).detach()
        content = f"torch.float32 {tuple(weight.shape)}".encode() + weight.numpy().tobytes()
        digests[name] = hashlib.sha256(content).hexdigest()[:32]
    old = sft(1)
    old = dataclasses.replace(old, metadata=dataclasses.replace(old.metadata, base_digests=digests))
    before = bits(model)
    with old.apply(model), now.apply(model):
        pass
    for both in (old + now, now + old):
        with both.apply(model):
            assert not torch.equal(model.encoder["lin"].weight, before["encoder.lin.weight"])
        with pytest.raises(LtsftError, match="weights it was trained from"):
            both.apply(Net(seed=1))
    with pytest.raises(LtsftError, match="weights it was trained from"):
        old.apply(Net(seed=1))
    assert_untouched(model, before)


def test_what_a_composed_one_has_in_it_is_not_applied_again():
    """By content: whatever it was called, and composed once more; not what was subtracted."""
    model, task, language, other = Net(), sft(9, task="pos"), sft(1, task="masked-lm"), sft(2)
    both = composition.weighted_sum([task, language])
    more = composition.mean([both, other])
    again = dataclasses.replace(language, metadata=Metadata())
    for first, second in [(both, language), (language, both), (more, again), (more, both)]:
        with (
            first.apply(model),
            pytest.raises(LtsftError, match="in place already, with or within"),
        ):
            second.apply(model)
    with both.apply(model), other.apply(model):
        pass
    with (
        composition.weighted_sum([task, language], [1.0, -1.0]).apply(model),
        language.apply(model),
    ):
        pass


def reload(model, weights):
    state = {name: weights.get(name, value).clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


@pytest.mark.parametrize("leave", [Applied.revert, lambda handle: handle.switch(sft(2)).revert()])
def test_parameters_that_were_replaced_are_reverted_too(leave):
    """`load_state_dict(assign=True)` makes new ones; those count that the model has now."""
    model = Net()
    before = bits(model)
    handle = sft(1).apply(model)
    reload(model, bits(model))
    leave(handle)
    assert_untouched(model, before)

    handle = sft(1).apply(model)
    model.encoder["lin"] = nn.Linear(4, 4)
    with pytest.raises(LtsftError, match="was changed since"):
        leave(handle)
    model.encoder["lin"] = nn.Linear(5, 4)
    with pytest.raises(LtsftError, match="expected to have shape"):
        leave(handle)


@pytest.mark.parametrize("load", [reload, lambda model, w: model.load_state_dict(w, strict=False)])
def test_where_the_base_was_loaded_again_there_is_nothing_to_lose(load):
    model, one = Net(), sft(1)
    before = bits(model)
    one.apply(model)
    load(model, before)
    with pytest.raises(LtsftError, match=r"in place already; revert it first \(`Applied.of"):
        one.apply(model)
    (handle,) = Applied.of(model)
    assert repr(handle) == f"Applied({one!r}, in place)"
    handle.revert()
    assert repr(handle) == f"Applied({one!r}, not in place)"
    with one.apply(model):
        assert not torch.equal(model.encoder["lin"].weight, before["encoder.lin.weight"])
    assert_untouched(model, before)


def test_the_end_of_a_block_takes_off_what_was_switched_to():
    model = Net()
    before = bits(model)
    with sft(1).apply(model) as applied:
        for seed in (2, 3):
            applied = applied.switch(sft(seed))
        assert Applied.of(model) == [applied]
    assert_untouched(model, before)
    with pytest.raises(LtsftError, match="expected to be in place, but was reverted"), applied:
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_contiguous(dtype):
    """Transposed and channels-last ones, against contiguous ones; switched and reverted too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(3, 5)).to(dtype)
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    other[1].weight = nn.Parameter(other[1].weight.detach().t().contiguous().t())
    assert not any(p.is_contiguous() for p in other.parameters() if p.dim() > 1)
    before = bits(other)
    sfts = []
    for _ in range(2):
        entries = {}
        for name in ("0.weight", "1.weight"):
            weight = model.get_parameter(name)
            at = torch.randperm(weight.numel())[:7].sort().values
            entries[name] = SparseDelta(tuple(weight.shape), at, torch.randn(7))
        sfts.append(SparseFineTuning(entries))
    mine, theirs = (sfts[0].apply(m).switch(sfts[1]) for m in (model, other))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name))
    theirs.revert(check=True)
    assert_untouched(other, before)
    mine.revert()


def test_models_that_cannot_be_written_are_refused():
    with torch.inference_mode():
        model = Net()
    with pytest.raises(LtsftError, match="made in inference mode"):
        sft(1).apply(model)
    with pytest.raises(LtsftError, match="on the device `meta`"):
        sft(1).apply(Net().to("meta"), check_base=False)


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (None, True),
        ({0: "A", 1: "B", 2: "C"}, True),
        ({"0": "A", "1": "B", "2": "C"}, True),
        ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, True),
        ({0: "C", 1: "B", 2: "A"}, False),
    ],
)
def test_a_head_whose_outputs_the_model_calls_otherwise(names, fits):
    """Nobody would see it but in the names that a pipeline gives."""
    model = Net()
    model.config = SimpleNamespace(id2label=names)
    head = {"head.weight": torch.ones(3, 4), "head.bias": torch.ones(3)}
    one = sft(1, whole=head, labels=["A", "B", "C"])
    if fits:
        one.apply(model).revert()
    else:
        with pytest.raises(LtsftError, match=r"outputs A, B, C, but .* says C, B, A; load"):
            one.apply(model)
    one.apply(model, whole=False).revert()
    one.without_whole().apply(model).revert()


def test_entries_in_both_of_what_the_model_ties():
    weights = ("encoder.emb.weight", "out.weight")
    delta = SparseDelta((20, 4), torch.tensor([1]), torch.ones(1))
    both = SparseFineTuning(dict.fromkeys(weights, delta))
    with pytest.raises(LtsftError, match=r"expected to have weights of its own .* ties it to `out"):
        both.apply(Net(tied=True))


def test_base_digests_see_through_what_is_applied():
    model = Net()
    expected = base_digests(model, ["encoder.emb.weight", "encoder.lin.weight"])
    sft(1).apply(model, check_base=False)
    sft(2).apply(model, check_base=False)
    assert base_digests(model, expected) == expected


def test_what_is_applied_does_not_keep_its_model_alive():
    """A server that drops a model with a fine-tuning in it gets the memory back."""
    model = Net()
    alive = weakref.ref(model)
    handle = sft(1).apply(model)
    del model
    gc.collect()
    assert alive() is None
    assert handle.sft == sft(1)


def test_the_same_differences_are_in_place_once():
    """Whatever heads come with them, or were left out."""
    model, task = Net(), sft(1)
    with task.apply(model, whole=False):
        with pytest.raises(LtsftError, match="is expected to be applied once"):
            task.without_whole().apply(model)
        with (task * 0.5).apply(model):  # others, and said so
            pass


def tied():
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    return model


def test_what_was_tied_in_training_is_tied_in_the_model():
    """Else one of two matrices would get the difference that both had."""
    model = tied()
    ticket = Ticket(model)
    model["a"].weight.data += torch.rand(3, 3)
    ticket.select(LargestChange(), 4)
    ticket.rewind()
    model["a"].weight.data += torch.rand(3, 3) * ticket.mask["a.weight"]
    difference = ticket.difference()
    apart = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    apart.load_state_dict({k: v.clone() for k, v in ticket_start(model, ticket).items()})
    with pytest.raises(LtsftError, match=r"`a.weight` is expected to be tied to `b.weight`"):
        difference.apply(apart)
    together = tied()
    together.load_state_dict(ticket_start(model, ticket))
    difference.apply(together)
    alone = nn.ModuleDict({"a": nn.Linear(3, 3)})  # a class without the other one
    alone.load_state_dict(
        {k: v for k, v in ticket_start(model, ticket).items() if k.startswith("a.")}
    )
    difference.apply(alone)


def ticket_start(model, ticket):
    """The state of a tied model before training."""
    state = {name: ticket.initial[name] for name in ("a.weight", "a.bias", "b.bias")}
    return state | {"b.weight": state["a.weight"]}


def test_a_rounded_model_is_told_apart_from_another_one():
    model = nn.Linear(4, 4)
    ticket = Ticket(model)
    model.weight.data += 0.1
    ticket.select(LargestChange(), 4)
    ticket.rewind()
    difference = ticket.difference()
    with pytest.raises(LtsftError, match="it is torch.bfloat16: load it with dtype=torch.float32"):
        difference.apply(model.to(torch.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_state_dict_without_what_is_in_place(dtype):
    """Of the model or of a module around it; the model keeps the fine-tuning."""
    model = Net(dtype=dtype)
    lower, upper = sft(1), sft(2, whole={"head.bias": torch.full((3,), 6.0)})
    around = nn.ModuleDict({"a": model})
    with lower.apply(model, check_base=False):
        expected = {name: value.clone() for name, value in around.state_dict().items()}
        with upper.apply(model, check_base=False) as applied:
            before = bits(model)
            plain = applied.without(around.state_dict())
            assert list(plain) == list(expected)
            assert all(torch.equal(plain[name], value) for name, value in expected.items())
            assert_untouched(model, before)
            assert not torch.equal(model.head.bias, plain["a.head.bias"])
