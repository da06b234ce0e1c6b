"""The method without Lightning: a ticket around a loop written out by hand."""

import copy

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import (
    Budget,
    Compact,
    Growing,
    LargestChange,
    LearningRate,
    Mask,
    Random,
    Ranks,
    ScopeRules,
    Shrinking,
    Ticket,
    ToStep,
    add_l1_gradient,
)
from tests.callbacks.plain import Plain, data, values
from tests.callbacks.test_rounds import growing_by_hand, shrinking_by_hand
from tests.callbacks.test_sparse_mask import by_hand

K, DENSE, SPARSE = 10, 12, 15


def train(module, steps, *, ticket=None, hold=False, clip=None, l1=0.0, first=0, early=0):
    """Any loop: it knows of the ticket only where it penalises or keeps an early step."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    batches = [batch for _ in range(10) for batch in data()]

    def loop():
        for step, batch in zip(range(first, steps), batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * (1 - step / steps)
            optimizer.zero_grad()
            module.loss(batch).backward()
            if l1:
                add_l1_gradient(ticket, l1)
            if clip:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            if step + 1 == early:
                ticket.keep_early()

    if not hold:
        return loop()
    with ticket.hold(optimizer):
        return loop()


@pytest.mark.parametrize(
    ("clip", "l1", "rewinding"),
    [(None, 0.0, None), (0.1, 5.0, None), (None, 0.0, ToStep(5)), (None, 0.0, LearningRate())],
    ids=["plain", "clipped, L1", "to a step", "learning rate"],
)
def test_five_lines_equal_the_loop_written_by_hand(clip, l1, rewinding):
    """Same mask and final weights, to the bit; everything else at θ⁰; φ says so."""
    rewind = {
        "ToStep": lambda initial, dense, early: early,
        "LearningRate": lambda initial, dense, early: dense,
    }.get(type(rewinding).__name__, lambda initial, dense, early: initial)
    step = 0 if rewinding is None else rewinding.step
    expected = Plain()
    _, masks = by_hand(
        expected, data(), K, DENSE, SPARSE, clip, l1, rewind=rewind, rewind_step=step
    )

    module = Plain()
    before = values(module)
    ticket = Ticket(module)
    train(module, DENSE, ticket=ticket, clip=clip, l1=l1, early=step)
    mask = ticket.select(LargestChange(), K)
    ticket.rewind(rewinding)
    train(module, SPARSE, ticket=ticket, hold=True, clip=clip, l1=l1, first=step)
    sft = ticket.difference()

    assert mask.num_selected == sft.num_params == K
    for name, value in values(module).items():
        assert torch.equal(mask[name], masks[name])
        assert torch.equal(value, expected.get_parameter(name)), name
        assert torch.equal(value[~mask[name]], before[name][~mask[name]])
    assert sft.metadata.selection == "LargestChange"
    assert sft.metadata.num_maskable == 83
    assert sft.metadata.base_digests.keys() == before.keys()
    fresh = Plain()
    sft.apply(fresh)
    for name, value in values(module).items():
        torch.testing.assert_close(fresh.get_parameter(name), value, rtol=0, atol=1e-7)


def test_growing_rounds_without_a_trainer():
    expected, masks, sizes = growing_by_hand()
    module, rounds = Plain(), Growing(3)
    ticket = Ticket(module)
    for number, size in enumerate(sizes):
        if number:
            ticket.begin_round()
        train(module, 6)
        ticket.select(LargestChange(), size, rounds)
        ticket.rewind()
        train(module, 8, ticket=ticket, hold=True)
    for name, value in values(module).items():
        assert torch.equal(ticket.mask[name], masks[name])
        assert torch.equal(value, expected.get_parameter(name)), name


def test_shrinking_rounds_without_a_trainer():
    expected, masks, sizes = shrinking_by_hand()
    module, rounds = Plain(), Shrinking(3)
    ticket = Ticket(module)
    for number, size in enumerate(sizes):
        train(module, 6, ticket=ticket, hold=number > 0)
        ticket.select(LargestChange(), size, rounds)
        ticket.rewind()
    train(module, 8, ticket=ticket, hold=True)
    for name, value in values(module).items():
        assert torch.equal(ticket.mask[name], masks[name])
        assert torch.equal(value, expected.get_parameter(name)), name


def test_heads_and_statistics_train_are_rewound_and_kept():
    module = Plain(batch_norm=True)
    initial = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    ticket = Ticket(module, ScopeRules(whole=["layers.4"], frozen=["type:*Norm*"]))
    train(module, DENSE)
    ticket.select(LargestChange(), 6)
    ticket.rewind()
    now = module.state_dict()
    for name in ("layers.4.weight", "layers.1.running_mean", "layers.1.num_batches_tracked"):
        assert torch.equal(now[name], initial[name])
    train(module, SPARSE, ticket=ticket, hold=True)
    sft = ticket.difference()
    buffers = {f"layers.1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(sft.whole) == {"layers.4.weight", "layers.4.bias"} | buffers
    for name, value in sft.whole.items():
        assert torch.equal(value, module.state_dict()[name])
    for name in ("layers.1.weight", "layers.1.bias"):  # frozen
        assert torch.equal(module.state_dict()[name], initial[name])


def test_a_ticket_goes_on_from_its_state(tmp_path):
    """Half-way through the sparse phase, weights and optimizer restored by the loop's owner."""
    module = Plain()
    ticket = Ticket(module)
    train(module, DENSE, ticket=ticket, early=4)
    ticket.select(Random(seed=3), K)
    ticket.begin_round()
    torch.save(ticket.state_dict(), tmp_path / "ticket")
    again = Ticket(Plain(seed=9))
    again.load_state_dict(torch.load(tmp_path / "ticket", weights_only=True))
    for kept, restored in (
        (ticket.initial, again.initial),
        (ticket.start, again.start),
        (ticket.early, again.early),
    ):
        assert kept.keys() == restored.keys()
        assert all(torch.equal(value, restored[name]) for name, value in kept.items())
    assert again.mask.digest() == ticket.mask.digest()
    assert again.base_digests == ticket.base_digests
    ticket.forget_round()
    assert ticket.start is ticket.initial
    assert not ticket.early


def test_the_hold_ends_with_its_block():
    module = Plain()
    ticket = Ticket(module)
    ticket.select(Random(), K)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    batch = next(iter(data()))
    with ticket.hold(optimizer):
        module.loss(batch).backward()
        moved = [p.grad[~ticket.mask[n]] for n, p in module.named_parameters()]
        assert all((gradient == 0).all() for gradient in moved)
    optimizer.zero_grad()
    module.loss(batch).backward()
    optimizer.step()
    assert ticket.moved()
    with pytest.raises(LtsftError, match="expected to be as before .* moved in layers.0.weight"):
        ticket.difference()


def test_what_is_told_of_a_choice():
    module, lines = Plain(), []
    ticket = Ticket(module)
    train(module, 3)
    ticket.select(LargestChange(), K, tell=lines.append)
    assert lines[0] == "LargestChange: selecting 10 of 83 maskable entries."
    assert lines[1].startswith("Selected 10 entries: 12.05% of the maskable, 12.05% of the whole")


def test_ranks_that_choose_other_entries_are_refused():
    class Two(Ranks):
        def gather(self, value):
            return [value, "other"]

    ticket = Ticket(Plain(), ranks=Two())
    with pytest.raises(LtsftError, match="the mask is expected to be the same on all 2 ranks"):
        ticket.select(Random(), K)
    assert ticket.mask is None


def test_without_a_selection_there_is_nothing_to_hold():
    ticket = Ticket(Plain())
    for step in (ticket.rewind, ticket.difference, ticket.moved):
        with pytest.raises(RuntimeError, match="no entries are selected: call `select` before"):
            step()


def test_a_budget_says_k():
    """`Budget` and a ticket meet where they do in the callback."""
    module = Plain()
    ticket = Ticket(module)
    mask = ticket.select(Random(), Budget(density=0.5).resolve(module, 83))
    assert isinstance(mask, Mask)
    assert mask.num_selected == 42


def test_the_order_of_a_loop_is_watched_over():
    """A cell that runs twice, K forgotten, no optimizer held: told at once."""
    model = nn.Linear(4, 2)
    ticket = Ticket(model)
    model.weight.data += 1
    with pytest.raises(LtsftError, match="`num_params` is expected to be 1 or more with Largest"):
        ticket.select(LargestChange())
    ticket.select(LargestChange(), 3)
    with pytest.raises(LtsftError, match="3 entries are selected already; make a new ticket, or"):
        ticket.select(LargestChange(), 3)
    assert ticket.mask.num_selected == 3
    with pytest.raises(LtsftError, match="`optimizers` is expected to be all that step"):
        ticket.hold().__enter__()
    with pytest.raises(LtsftError, match=r"moved in weight; call `rewind\(\)` before"):
        ticket.difference()
    with pytest.raises(LtsftError, match="`scope` is expected to be a Scope or a ScopeRules"):
        Ticket(model, "weight")
    with pytest.raises(LtsftError, match="`module` is expected to be a Module"):
        Ticket({"weight": model.weight})


@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_released_it_knows_the_difference_and_what_moved(chunk, monkeypatch):
    """By θ⁰ at K entries, and digests of all others: down to a bit of any of them."""
    monkeypatch.setattr("ltsft.sparse.digest._CHUNK_ENTRIES", chunk)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2))
    ticket = Ticket(model, ScopeRules(whole=["1.bias"]))
    ticket.select(Random(), 11)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    ticket.release()
    assert list(ticket.initial) == ["1.bias"]
    assert ticket.moved() == []
    assert not ticket.has_moved()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += torch.rand_like(parameter) * ticket.mask.get(name, 1)
    assert ticket.moved() == []
    assert ticket.has_moved()
    kept = {name: value.clone() for name, value in ticket.movable().items()}
    assert sum(value.numel() for value in kept.values()) == 11 + 2
    trained = copy.deepcopy(model.state_dict())
    ticket.put({name: value + 1 for name, value in kept.items()})
    assert not torch.equal(model[1].bias, trained["1.bias"])
    ticket.put(kept)
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    again = Ticket(model, ScopeRules(whole=["1.bias"]))
    again.load_state_dict(ticket.state_dict())
    sft = ticket.difference()
    assert again.difference() == sft
    for name, delta in sft.entries.items():
        expected = (model.get_parameter(name).detach() - start[name])[ticket.mask[name]]
        assert torch.equal(delta.values, expected)
    for name in ticket.mask:
        parameter = model.get_parameter(name).detach().view(-1)
        for position in range(parameter.numel()):
            if not ticket.mask[name].view(-1)[position]:
                before = parameter[position].item()
                parameter[position] = torch.nextafter(parameter[position], torch.tensor(9.0))
                assert ticket.moved() == [name]
                with pytest.raises(LtsftError, match=f"they moved in {name}"):
                    ticket.difference()
                parameter[position] = before
    assert ticket.moved() == []


@pytest.mark.parametrize(
    ("optimizers", "by", "message"),
    [
        (["model"], None, "`optimizers` is expected to be an Optimizer, but got 'model'"),
        ([], Compact, r"`by` is expected to be a Hold, .* write `ticket.hold\(optimizer, by=Com"),
    ],
)
def test_holding_what_cannot_hold_is_one_line(optimizers, by, message):
    model = nn.Linear(4, 2)
    ticket = Ticket(model)
    ticket.select(Random(), 3)
    optimizers = optimizers or [torch.optim.SGD(model.parameters(), lr=0.1)]
    with pytest.raises(LtsftError, match=message), ticket.hold(*optimizers, by=by):
        pass
