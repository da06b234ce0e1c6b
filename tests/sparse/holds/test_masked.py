"""Unselected entries stay bit-equal to the start under every optimizer of torch."""

import pytest
import torch
from torch import nn

from ltsft.sparse import LargestChange, Mask, Masked, Ticket
from tests.sparse.selection.reference import candidates


def ticket_of(module, mask):
    """A ticket whose θ⁰ is what the module holds now."""
    ticket = Ticket(module)
    ticket.mask = mask
    return ticket


def held(module, mask, *optimizers):
    hold = Masked()
    hold.attach(ticket_of(module, mask), optimizers)
    return hold


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.0, "amsgrad": True, "foreach": True}),
    (torch.optim.AdamW, {"lr": 0.1, "fused": True}),
    (torch.optim.Adamax, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.NAdam, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.RAdam, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.Adagrad, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.Adadelta, {"weight_decay": 0.1}),
    (torch.optim.Adafactor, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.ASGD, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.Rprop, {"lr": 0.1}),
    (torch.optim.LBFGS, {"lr": 0.1, "max_iter": 3}),
]


@pytest.mark.parametrize("warm", [False, True], ids=["fresh state", "old state"])
@pytest.mark.parametrize(("optimizer_class", "settings"), OPTIMIZERS)
def test_exactly_the_selected_entries_move(optimizer_class, settings, warm):
    """With `warm`, the optimizer carries moments of all entries from before the mask was set."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    x, y = torch.randn(16, 5), torch.randn(16, 3)
    optimizer = optimizer_class(module.parameters(), **settings)
    holds: list[Masked] = []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(module(x), y)
        loss.backward()
        for each in holds:
            each.mask_gradients()
        return loss

    for _ in range(3 if warm else 0):
        optimizer.step(closure)
    initial = {name: p.detach().clone() for name, p in module.named_parameters()}
    mask = LargestChange().select(
        candidates(module, {name: torch.randn_like(p) for name, p in initial.items()}), 13
    )
    for name, parameter in module.named_parameters():
        parameter.data.copy_(initial[name])
    ticket = ticket_of(module, mask)
    holds.append(Masked())
    holds[0].attach(ticket, [optimizer])
    for _ in range(5):
        optimizer.step(closure)

    moved = {n: p.detach() != initial[n] for n, p in module.named_parameters()}
    for name in mask:
        assert not (moved[name] & ~mask[name]).any(), name
    assert sum(int(m.sum()) for m in moved.values()) == 13
    assert ticket.moved() == []


def test_gradients_are_masked_so_that_clipping_counts_only_what_moves():
    module = nn.Linear(2, 1, bias=False)
    mask = Mask({"weight": torch.tensor([[True, False]])})
    hold = held(module, mask)
    module.weight.grad = torch.tensor([[3.0, 4.0]])
    hold.mask_gradients()
    assert torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0) == 3.0


def test_an_infinite_gradient_of_an_unselected_entry_does_not_spread():
    """Multiplying by a mask would turn it into NaN."""
    module = nn.Linear(2, 1, bias=False)
    mask = Mask({"weight": torch.tensor([[True, False]])})
    hold = held(module, mask)
    module.weight.grad = torch.tensor([[1.0, torch.inf]])
    hold.mask_gradients()
    assert module.weight.grad.tolist() == [[1.0, 0.0]]


def test_moved_names_what_should_not_have_moved():
    module = nn.Linear(2, 1)
    initial = {name: p.detach().clone() for name, p in module.named_parameters()}
    mask = Mask({name: torch.zeros_like(p, dtype=torch.bool) for name, p in initial.items()})
    ticket = ticket_of(module, mask)
    module.bias.data += 1
    assert ticket.moved() == ["bias"]


def test_detaching_frees_the_weights():
    module = nn.Linear(2, 1, bias=False)
    initial = {"weight": module.weight.detach().clone()}
    mask = Mask({"weight": torch.zeros(1, 2, dtype=torch.bool)})
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    hold = held(module, mask, optimizer)
    module.weight.grad = torch.ones(1, 2)
    optimizer.step()
    assert torch.equal(module.weight, initial["weight"])
    hold.detach()
    hold.detach()
    hold.mask_gradients()
    optimizer.step()
    assert torch.equal(module.weight, initial["weight"] - 1)
