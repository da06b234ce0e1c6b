"""DiffPruning against a loop in which w and α are tensors of their own, by autograd."""

from zlib import crc32

import pytest
import torch
from torch import nn
from torch.func import functional_call

from ltsft.errors import LtsftError
from ltsft.sparse import DiffPruning, ScopeRules, hard_concrete
from tests.sparse.selection.reference import candidates, chosen, first

STEPS = 12


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def batches(num=STEPS * 3):
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(num, 4, n, generator=generator, dtype=torch.float64) for n in (5, 3))
    return list(zip(x, y, strict=True))


def by_hand(module, l0, structured, accumulate, head=(), seed=0, clip=1.0):
    """Min over w, α of E[loss(θ⁰ + z ⊙ w)] + λ Σ σ(α), as Guo et al. (2021) write it.

    Returns:
        Losses, the weights θ⁰ + w, the α of entries and of tensors.
    """
    initial = {name: p.detach().clone() for name, p in module.named_parameters()}
    w = {name: torch.zeros_like(p).requires_grad_() for name, p in initial.items()}
    gated = (
        [name for name in initial if not name.startswith(tuple(head))] if head else list(initial)
    )
    alpha = {n: torch.full_like(initial[n], 5.0).requires_grad_() for n in gated}
    group = {n: torch.tensor(5.0, dtype=torch.float64).requires_grad_() for n in gated}
    alphas = [a for n in gated for a in ([alpha[n], group[n]] if structured else [alpha[n]])]
    optimizer = torch.optim.AdamW(w.values(), lr=0.05, weight_decay=0.0)
    alpha_optimizer = torch.optim.AdamW(alphas, lr=0.1, weight_decay=0.0)

    def gate(location, generator):
        shape = location.shape or (1,)
        u = torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-4, 0.9999)
        s = torch.sigmoid(torch.log(u) - torch.log(1 - u) + location)
        return (s * 3 - 1.5).clamp(0, 1)

    losses, data = [], iter(batches())
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(crc32(f"{seed} {step}".encode()))
        z = {}
        for name in gated:
            z[name] = gate(alpha[name], generator)
            if structured:
                z[name] = z[name] * gate(group[name], generator)
        theta = {n: initial[n] + z[n] * w[n] if n in z else initial[n] + w[n] for n in initial}
        total = 0
        for _ in range(accumulate):
            x, y = next(data)
            loss = nn.functional.mse_loss(functional_call(module, theta, (x,)), y)
            losses.append(loss.item())
            total = total + loss / accumulate
        penalty = sum(torch.sigmoid(a).sum() for a in alphas)
        (total + l0 * penalty).backward()
        nn.utils.clip_grad_norm_(w.values(), clip)
        nn.utils.clip_grad_norm_(alphas, 1.0)
        for one in (optimizer, alpha_optimizer):
            one.step()
            one.zero_grad()
    weights = {name: (initial[name] + w[name]).detach() for name in initial}
    return losses, weights, alpha, group


def train(selection, given, accumulate=1, clip=1.0, steps=STEPS, skip=0, optimizer=None):
    """The dense phase as whoever trains runs it: the module's own optimizer and the moments."""
    module, losses = given.module, []
    optimizer = optimizer or torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.0)
    data = iter(batches()[skip * accumulate :])
    for _ in range(steps):
        for _ in range(accumulate):
            x, y = next(data)
            selection.place(given, training=True)
            loss = nn.functional.mse_loss(module(x), y)
            losses.append(loss.item())
            (loss / accumulate).backward()
            selection.remove(given)
        selection.observe(given)
        nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
    return losses, optimizer


@pytest.mark.parametrize("structured", [False, True], ids=["entries", "structured"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("head", [(), ("2",)], ids=["all", "head"])
def test_losses_weights_and_locations_equal_the_loop(structured, accumulate, head):
    """Float64. θ⁰ + w is stored as a sum here and as two terms there, hence 1e-12.

    λ is large, so that within a few steps gates shut, and α feels both parts of its gradient.
    """
    losses, weights, alpha, group = by_hand(model(), 0.01, structured, accumulate, head)
    module = model()
    given = candidates(module, rules=ScopeRules(whole=list(head)))
    selection = DiffPruning(l0=0.01, structured=structured)
    got, _ = train(selection, given, accumulate)
    assert got == pytest.approx(losses, abs=1e-12)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-12)
    for name, both in selection.state_dict()["alphas"].items():
        torch.testing.assert_close(both[0], alpha[name].detach(), rtol=0, atol=1e-12)
        if structured:
            torch.testing.assert_close(both[1].squeeze(), group[name].detach(), rtol=0, atol=1e-12)
    assert set(selection.state_dict()["alphas"]) == set(alpha)


@pytest.mark.parametrize("structured", [False, True], ids=["entries", "structured"])
def test_the_largest_expected_differences_are_chosen(structured):
    """|E[z] ⊙ w| by a full sort, from the mean gates that are in place when the choice is made."""
    module = model()
    given = candidates(module)
    selection = DiffPruning(l0=0.01, alpha_start=0.5, structured=structured)
    train(selection, given)
    alphas = selection.state_dict()["alphas"]
    scores = {}
    for name, parameter in module.named_parameters():
        z = hard_concrete.expectation(alphas[name][0])
        if structured:
            z = z * hard_concrete.expectation(alphas[name][1])
        scores[name] = (z * (parameter - given.initial[name])).abs().detach()
    plain = {n: (p - given.initial[n]).abs().detach() for n, p in module.named_parameters()}
    trained = {name: p.detach().clone() for name, p in module.named_parameters()}
    selection.place(given, training=False)
    for num_params in (1, 10, 30, 57):
        mask = selection.select(given, num_params)
        assert mask.num_selected == num_params
        assert chosen(mask) == first(scores, num_params)
    assert chosen(selection.select(given, 10)) != first(plain, 10)  # the gates have their say
    assert "of the gates expected to be open; smallest |Δ|" in selection.describe(given, mask)
    selection.remove(given)
    for name, value in trained.items():
        assert torch.equal(module.get_parameter(name), value)


def test_between_batches_the_weights_are_those_of_the_optimizer_to_the_bit():
    """Float32; placing again before removing (a batch that was skipped) does no harm."""
    module = nn.Linear(20, 20)
    given = candidates(module, {"weight": torch.randn(20, 20) * 1e-3})
    before = module.weight.detach().clone()
    selection = DiffPruning(alpha_start=0.0)
    for training in (True, True, False):
        selection.place(given, training)
        assert not torch.equal(module.weight, before)
    selection.remove(given)
    assert torch.equal(module.weight, before)
    selection.place(given, training=True)
    module.weight.grad, module.bias.grad = torch.zeros(20, 20), torch.zeros(20)
    selection.observe(given)  # as after a batch without a backward pass
    assert torch.equal(module.weight, before)


def test_one_draw_lasts_for_one_optimizer_step():
    module = nn.Linear(30, 30, bias=False)
    given = candidates(module, {"weight": torch.ones(30, 30)})
    selection, seen = DiffPruning(alpha_start=0.0, alpha_lr=0.0), []
    for step in range(4):
        selection.place(given, training=True)
        seen.append(module.weight.detach().clone())
        selection.remove(given)
        if step % 2:
            selection.observe(given)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])


def test_the_penalty_shuts_gates():
    module = model()
    given, loose, tight = candidates(module), DiffPruning(l0=0.0), DiffPruning(l0=0.1)
    train(loose, given)
    train(tight, candidates(model()))
    assert tight.expected_density < 0.99 < loose.expected_density


@pytest.mark.parametrize("structured", [False, True], ids=["entries", "structured"])
def test_it_goes_on_where_it_was_saved(tmp_path, structured):
    """Through a file that is read with `weights_only`, as checkpoints are; bit for bit."""
    module = model()
    given, whole = candidates(module), DiffPruning(l0=0.01, structured=structured)
    train(whole, given)

    resumed_module = model()
    again, first_half = candidates(resumed_module), DiffPruning(l0=0.01, structured=structured)
    _, optimizer = train(first_half, again, steps=5)
    torch.save(first_half.state_dict(), tmp_path / "state")
    second_half = DiffPruning(l0=0.01, structured=structured)
    second_half.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    train(second_half, again, steps=STEPS - 5, skip=5, optimizer=optimizer)
    for name, parameter in module.named_parameters():
        assert torch.equal(resumed_module.get_parameter(name), parameter)
    for name, alphas in whole.state_dict()["alphas"].items():
        for alpha, other in zip(alphas, second_half.state_dict()["alphas"][name], strict=True):
            assert torch.equal(alpha, other)


def test_a_state_that_was_not_used_yet_is_saved_as_it_was():
    selection = DiffPruning()
    assert selection.state_dict() == {}
    train(selection, candidates(model()), steps=2)
    state = selection.state_dict()
    other = DiffPruning()
    other.load_state_dict(state)
    assert other.state_dict() is state
    other.reset()
    assert other.state_dict() == {}


def test_a_gradient_that_is_not_finite_leaves_the_gates_alone():
    module = nn.Linear(2, 1, bias=False)
    given, selection = candidates(module, {"weight": torch.ones(1, 2)}), DiffPruning()
    module.weight.grad = torch.tensor([[torch.inf, 1.0]])
    selection.observe(given)
    assert (selection.state_dict()["alphas"]["weight"][0] == 5).all()


def test_parameters_without_a_gradient_feel_the_penalty_alone():
    module = model()
    given, selection = candidates(module), DiffPruning(l0=1.0)
    selection.observe(given)
    assert all((both[0] < 5).all() for both in selection.state_dict()["alphas"].values())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_negative_penalty_is_refused():
    with pytest.raises(LtsftError, match="`l0` of `DiffPruning` .* 0 or more, but got -1"):
        DiffPruning(l0=-1)


def test_its_name_says_how():
    assert str(DiffPruning(structured=True)) == "DiffPruning(l0=1.25e-07, structured)"
