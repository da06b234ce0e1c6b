"""Applying, switching and reverting change all that they are to, or not one bit."""

import dataclasses
import random
import sys
import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

import ltsft.sparse.applied as applied_module
from ltsft.errors import LtsftError
from ltsft.sparse import Applied, SparseDelta, SparseFineTuning
from tests.sparse.net import Net, assert_untouched, bits, sft

HEAD = {"head.weight": torch.full((3, 4), 5.0), "head.bias": torch.full((3,), 6.0)}

WAYS = {
    "apply": lambda handle, other: other.apply(handle._model(), check_base=False),
    "switch": lambda handle, other: handle.switch(other, check_base=False),
    "revert": lambda handle, other: handle.revert(),
}


def interrupted_at(line, do):
    """Run something, and raise Ctrl-C's exception before a line of it; whether it got that far."""
    left, was_raised = line, False

    def trace(frame, event, argument):
        nonlocal left, was_raised
        if frame.f_code.co_filename != applied_module.__file__:
            return None
        if event == "line" and not was_raised:
            if not left:
                was_raised = True
                raise KeyboardInterrupt
            left -= 1
        return trace

    sys.settrace(trace)
    try:
        do()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return was_raised


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("piece_entries", [16, 1 << 20])
@pytest.mark.parametrize("has_head", [True, False])
def test_an_interrupt_before_any_line_leaves_every_bit(monkeypatch, way, piece_entries, has_head):
    """What was in place is in place still, and comes off; or else the change was complete."""
    monkeypatch.setattr(applied_module, "_PIECE_ENTRIES", piece_entries)
    model, first = Net(), sft(1, whole=HEAD)
    sparse = {"head.weight": SparseDelta((3, 4), torch.tensor([0, 7]), torch.tensor([1.0, 2.0]))}
    other = dataclasses.replace(sft(2), entries=sft(2).entries | sparse)
    other = sft(2, whole={name: -head for name, head in HEAD.items()}) if has_head else other
    base = bits(model)
    num_interrupted = 0
    while True:
        handle = first.apply(model, check_base=False)
        placed = bits(model)
        stack = Applied.of(model)
        if not interrupted_at(num_interrupted, partial(WAYS[way], handle, other)):
            break
        num_interrupted += 1
        if Applied.of(model) == stack:
            assert_untouched(model, placed)
        while Applied.of(model):
            Applied.of(model)[-1].revert(check=True)
        assert_untouched(model, base)
    assert num_interrupted > 30


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", ["write", "take", "_sum"])
@pytest.mark.parametrize("cast", [nn.Module.float, nn.Module.double, nn.Module.bfloat16])
def test_a_failure_of_torch_leaves_every_bit(monkeypatch, way, function, cast):
    """Say for lack of memory, at any of the calls that touch weights; cast in between or not."""
    monkeypatch.setattr(applied_module, "_PIECE_ENTRIES", 16)
    right = getattr(applied_module, function)
    number = num_failed = 0
    while True:
        model = Net()
        base, handle = bits(model), sft(1, whole=HEAD).apply(model)
        cast(model)
        placed, left = bits(model), number

        def fail_once(*args, **settings):
            nonlocal left
            left -= 1
            if left == -1:
                raise MemoryError
            return right(*args, **settings)

        monkeypatch.setattr(applied_module, function, fail_once)
        try:
            WAYS[way](handle, sft(2, model=Net()))
        except MemoryError:
            num_failed += 1
        monkeypatch.setattr(applied_module, function, right)
        if left >= 0:
            break
        assert Applied.of(model) == [handle]
        assert_untouched(model, placed)
        handle.revert()
        assert_untouched(
            model, {name: value.to(cast(Net()).head.bias) for name, value in base.items()}
        )
        number += 1
    assert num_failed == number
    assert num_failed > 3 or (way, function) in {("revert", "take"), ("revert", "_sum")}


class Allocations(TorchDispatchMode):
    """Numbers of entries of the tensors that are made, largest first."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        known |= {o.untyped_storage().data_ptr() for o in (kwargs or {}).values()
                  if isinstance(o, torch.Tensor)}  # fmt: skip
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in known:
            self.made.append(result.numel())
        return result


@pytest.mark.parametrize("way", WAYS)
def test_it_takes_the_values_from_before_and_pieces(monkeypatch, way):
    """K numbers, of which the way back consists; all else is as large as a piece at most."""
    monkeypatch.setattr(applied_module, "_PIECE_ENTRIES", 1000)
    model, k = nn.Linear(200, 200, bias=False), 10_000
    sfts = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        at = torch.randperm(40_000, generator=generator)[:k].sort().values
        sfts.append(SparseFineTuning({"weight": SparseDelta((200, 200), at, torch.ones(k))}))
    handle = sfts[0].apply(model)
    with Allocations() as allocations:
        WAYS[way](handle, sfts[1])
    large = [number for number in allocations.made if number > 1000]
    assert large == ([] if way == "revert" else [k])
    assert len(allocations.made) > 40


# ------------------------------------------------------------------ numbers that are none


def test_a_base_with_nan_is_reverted():
    """Compared bit by bit, not number by number; also where values are looked at."""
    model = Net()
    with torch.no_grad():
        model.encoder["emb"].weight[:] = float("nan")
        model.head.bias[1] = float("nan")
    before = bits(model)
    head = {**HEAD, "head.bias": torch.tensor([1.0, float("nan"), 2.0])}
    for change in (sft(1, whole=HEAD), sft(1, whole=head)):
        for check in (False, True):
            handle = change.apply(model, check_base=False)
            with torch.no_grad():
                model.get_parameter("encoder.lin.bias").mul_(1.0)
            handle.revert(check=check)
            assert_untouched(model, before)
            handle = change.apply(model, check_base=False).switch(sft(2), check_base=False)
            handle.revert(check=check)
            assert_untouched(model, before)


def test_a_head_with_nan_is_equal_to_itself(tmp_path):
    head = {"head.bias": torch.tensor([1.0, float("nan"), 2.0])}
    one = sft(1, whole=head)
    one.save(tmp_path / "x")
    again = SparseFineTuning.load(tmp_path / "x")
    assert again == one
    assert (one.without_whole() + SparseFineTuning({}, head)).whole.keys() == head.keys()
    assert sft(1, whole={"head.bias": torch.tensor([1.0, 0.0, 2.0])}) != one


@pytest.mark.parametrize(
    ("dtype", "difference", "fits"),
    [
        (torch.float16, 65_000.0, True),
        (torch.float16, 1e5, False),
        (torch.float32, 1e300, False),
        (torch.float32, 3e38, True),
        (torch.float64, 1e300, True),
        (torch.bfloat16, 1e300, False),
    ],
)
def test_a_difference_that_is_too_large_is_refused(dtype, difference, fits):
    """It would be infinite in the model; what went in before it comes off again."""
    model = Net(dtype=dtype)
    before = bits(model)
    values = torch.tensor([1.0, difference], dtype=torch.float64)
    large = SparseFineTuning(
        {
            "encoder.emb.weight": SparseDelta((20, 4), torch.tensor([3, 4]), torch.ones(2)),
            "encoder.lin.weight": SparseDelta((4, 4), torch.tensor([1, 2]), values),
        }
    )
    if fits:
        large.apply(model).revert()
    else:
        for put in (large.apply, sft(1).apply(model, check_base=False).switch):
            placed = bits(model)
            with pytest.raises(LtsftError, match=f"too large for {dtype}; load the model in"):
                put(model) if put == large.apply else put(large)
            assert_untouched(model, placed)
        Applied.of(model)[-1].revert()
    assert_untouched(model, before)


# ------------------------------------------------------------------ tensors that do not go in


def refused(change, model, message, **settings):
    before = bits(model)
    with pytest.raises(LtsftError, match=message) as caught:
        change.apply(model, check_base=False, **settings)
    assert "\n" not in str(caught.value)
    for name, tensor in bits(model).items():
        assert tensor.dtype == before[name].dtype
    assert Applied.of(model) == []


class Bare(nn.Module):
    base_model_prefix = "encoder"

    def __init__(self):
        super().__init__()
        net = Net()
        self.emb, self.lin = net.encoder["emb"], net.encoder["lin"]


LIN = SparseDelta((4, 4), torch.tensor([1]), torch.ones(1))


@pytest.mark.parametrize(
    ("entries", "whole"),
    [
        (["lin.weight", "encoder.lin.weight"], []),
        (["lin.weight"], ["encoder.lin.weight"]),
        (["encoder.lin.weight"], ["lin.weight"]),
    ],
)
def test_two_names_of_one_tensor(entries, whole):
    both = SparseFineTuning(dict.fromkeys(entries, LIN), {n: torch.ones(4, 4) for n in whole})
    refused(both, Bare(), "are expected to be different tensors, each changed once")


def test_a_name_of_both_kinds():
    both = SparseFineTuning({"head.weight": LIN}, {"head.weight": torch.ones(4, 4)})
    refused(both, Net(outputs=4), "`head.weight` and `head.weight` are expected to be different")


def test_another_name_of_a_tied_weight():
    """A prefix that is there twice is taken off once: the same tensor as the shorter name's."""
    delta = SparseDelta((20, 4), torch.tensor([1]), torch.ones(1))
    odd = SparseFineTuning({"encoder.encoder.emb.weight": delta})
    refused(odd, Net(tied=True), "`encoder.encoder.emb.weight` is expected to have weights of its")


def test_parts_of_one_tensor():
    """Views of one memory are parameters of their own as long as they are apart in it."""
    fused, model = torch.zeros(8, 4), nn.ModuleDict({n: nn.Linear(4, 4) for n in "ab"})
    model["a"].weight, model["b"].weight = (nn.Parameter(fused[4 * i : 4 * i + 4]) for i in (0, 1))
    both = SparseFineTuning({"a.weight": LIN, "b.weight": LIN})
    with both.apply(model):
        assert fused[0, 1] == fused[4, 1] == 1
    assert not fused.any()
    model["b"].weight = nn.Parameter(fused[2:6].t())
    refused(both, model, "`a.weight` and `b.weight` are expected to be different tensors")


def test_heads_that_a_model_ties():
    """As BERT's two biases over its vocabulary: the same for both is put in place once."""
    model = nn.Module()
    model.head = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    model.head["b"].bias = model.head["a"].bias
    before = bits(model)
    names = ["head.a.bias", "head.b.bias"]
    same = SparseFineTuning({}, dict.fromkeys(names, torch.arange(4.0)))
    with same.apply(model):
        assert torch.equal(model.head["b"].bias, torch.arange(4.0))
    assert_untouched(model, before)
    other = SparseFineTuning({}, {n: torch.full((4,), float(i)) for i, n in enumerate(names)})
    refused(other, model, "`head.a.bias` and `head.b.bias` are expected to be one tensor, as the")


def changed(weight):
    model = Net()
    model.encoder["lin"].weight = nn.Parameter(weight, requires_grad=False)
    return model


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (
            torch.zeros(4, 4).to(torch.float8_e4m3fn),
            "16 bits or more, .* is of torch.float8",
        ),
        (torch.zeros(4, 4, dtype=torch.int8), "16 bits or more, .* but is of torch.int8"),
        (torch.zeros(4, 4, dtype=torch.complex64), "16 bits or more, .* is of torch.complex64"),
        (torch.zeros(1, 4).expand(4, 4), "is sparse, quantized or expanded"),
        (torch.ones(4, 4).to_sparse(), "is sparse, quantized or expanded"),
    ],
)
def test_weights_that_nothing_can_be_added_to(weight, message):
    refused(SparseFineTuning({"encoder.lin.weight": LIN}), changed(weight), message)


def test_shards_are_refused():
    """As by FSDP2: a parameter that has tensors inside of it."""
    two = TwoTensor(torch.zeros(4, 4), torch.zeros(4, 4))
    model = changed(two)
    with pytest.raises(LtsftError, match="a plain tensor, but is a TwoTensor; apply before the mo"):
        SparseFineTuning({"encoder.lin.weight": LIN}).apply(model, check_base=False)
    assert not two.a.any()
    assert not two.b.any()


@pytest.mark.parametrize(
    ("weight", "value"),
    [
        (torch.zeros(4, 4), torch.ones(4, 4).long()),
        (torch.zeros(4, 4).long(), torch.ones(4, 4)),
        (torch.zeros(4, 4).half(), torch.full((4, 4), 1e5)),
        (torch.zeros(4, 4).to(torch.float8_e4m3fn), torch.ones(4, 4)),
    ],
)
def test_heads_that_would_hold_something_else(weight, value):
    head = SparseFineTuning({}, {"encoder.lin.weight": value})
    refused(head, changed(weight), f"to hold values of {value.dtype}, as in training")


# ------------------------------------------------------------------ threads


def test_threads_leave_nothing_that_cannot_be_taken_off():
    """Of four that apply, switch and revert as they like; refusals are all that they meet."""
    model = Net()
    before = bits(model)
    sfts = [sft(seed) for seed in range(6)]
    odd, counts = [], [0, 0]

    def work(seed):
        chance, mine = random.Random(seed), []
        for _ in range(150):
            try:
                if not mine or chance.random() < 0.3:
                    mine.append(chance.choice(sfts).apply(model, check_base=False))
                elif chance.random() < 0.5:
                    mine[-1] = mine[-1].switch(chance.choice(sfts), check_base=False)
                else:
                    mine[-1].revert()
                    mine.pop()
                counts[0] += 1
            except LtsftError:
                counts[1] += 1
            except BaseException as error:
                odd.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert odd == []
    assert min(counts) > 10
    while Applied.of(model):
        Applied.of(model)[-1].revert(check=True)
    assert_untouched(model, before)


def test_in_inference_mode_and_out_of_it():
    model = Net()
    before = bits(model)
    with torch.inference_mode():
        handle = sft(1).apply(model)
    handle = handle.switch(sft(2))
    with torch.inference_mode():
        handle = handle.switch(sft(3))
    handle.revert()
    assert_untouched(model, before)
    with torch.inference_mode():
        made = Net()
        handle = sft(1).apply(made)
    for leave in (handle.revert, lambda: handle.switch(sft(2))):
        with pytest.raises(LtsftError, match="was made in inference mode; apply in"):
            leave()
    with torch.inference_mode():
        handle.revert()
        assert_untouched(made, before)
