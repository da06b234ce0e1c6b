"""The L1 penalty against autograd."""

import torch
from torch import nn

from ltsft.sparse import ScopeRules, Ticket, add_l1_gradient


def with_gradients_of_zero(module):
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return module


def test_penalty_is_the_gradient_of_the_formula():
    """Against autograd on λ/N · Σ|θ - θ⁰|."""
    torch.manual_seed(0)
    module = with_gradients_of_zero(nn.Linear(4, 3))
    ticket = Ticket(module)
    initial = {name: p.detach().clone() for name, p in module.named_parameters()}
    for parameter in module.parameters():
        parameter.data += torch.randn_like(parameter)
    add_l1_gradient(ticket, 0.1)
    got = [parameter.grad.clone() for parameter in module.parameters()]
    total = sum((p - initial[name]).abs().sum() for name, p in module.named_parameters())
    expected = torch.autograd.grad(0.1 / 15 * total, list(module.parameters()))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_penalty_leaves_entries_at_the_start_alone():
    module = with_gradients_of_zero(nn.Linear(2, 1))
    add_l1_gradient(Ticket(module), 1.0)
    assert all((parameter.grad == 0).all() for parameter in module.parameters())


def test_frozen_parameters_count_in_n_and_get_no_gradient():
    """N is every parameter of the model: the reading of the authors' code."""
    module = with_gradients_of_zero(nn.Linear(2, 1))
    ticket = Ticket(module, ScopeRules(frozen=["bias"]))
    for parameter in module.parameters():
        parameter.data += 1
    add_l1_gradient(ticket, 6.0)
    assert module.weight.grad.tolist() == [[2.0, 2.0]]  # 6 / 3
    assert module.bias.grad.tolist() == [0.0]


def test_pieces_of_any_length_and_layout_add_up_to_the_whole(monkeypatch):
    """Bit for bit what one expression over whole tensors gives."""
    monkeypatch.setattr("ltsft.sparse.l1._PIECE_ENTRIES", 7)
    torch.manual_seed(0)
    module = with_gradients_of_zero(nn.Linear(5, 4))
    module.weight = nn.Parameter(torch.randn(5, 4).t())  # not contiguous
    module.more = nn.Parameter(torch.randn(3, 7))
    module.none = nn.Parameter(torch.randn(0))
    ticket = Ticket(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.grad = torch.randn_like(parameter)
            parameter += torch.randn_like(parameter).round()  # some stay where they are
    expected = {
        name: p.grad.add(torch.sign(p - ticket.initial[name]), alpha=0.1 / ticket.num_total)
        for name, p in module.named_parameters()
    }
    add_l1_gradient(ticket, 0.1)
    assert all(torch.equal(p.grad, expected[name]) for name, p in module.named_parameters())
