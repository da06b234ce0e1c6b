"""Property: exactly K, by the mean of squared gradients, judged by per-example autograd."""

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import FisherInformation, ScopeRules
from tests.sparse.selection.reference import candidates, chosen, first


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def examples(num=30):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(num, 5, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (num,), generator=generator)


def loss(module, x, y):
    return nn.functional.cross_entropy(module(x), y)


def train(selection, given, optimizer, batch_size=1, accumulate=1):
    """A dense phase as a loop: place, backward, remove, observe, step."""
    x, y = examples()
    optimizer.zero_grad()
    for index, start in enumerate(range(0, len(x), batch_size), start=1):
        selection.place(given, training=True)
        batch = slice(start, start + batch_size)
        (loss(given.module, x[batch], y[batch]) / accumulate).backward()
        selection.remove(given)
        if index % accumulate == 0:
            selection.observe(given)
            optimizer.step()
            optimizer.zero_grad()


def fisher_at_the_start(module):
    """1/N Σ (∇ log p(yᵢ | xᵢ))² by one gradient per example, weights untouched."""
    x, y = examples()
    sums = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for i in range(len(x)):
        gradients = torch.autograd.grad(
            loss(module, x[i : i + 1], y[i : i + 1]), list(module.parameters())
        )
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient**2
    return {name: total / len(x) for name, total in sums.items()}


@pytest.mark.parametrize("sensitivity", ["most", "least"])
@pytest.mark.parametrize(
    "optimizer", [torch.optim.SGD, torch.optim.AdamW], ids=lambda o: o.__name__
)
def test_with_single_examples_it_is_the_papers_information_at_the_start(sensitivity, optimizer):
    """Whatever the optimizer does between the batches, weight decay and momentum included."""
    module = model()
    expected = fisher_at_the_start(module)
    given = candidates(module)
    selection = FisherInformation(sensitivity)
    train(selection, given, optimizer(module.parameters(), lr=0.5, weight_decay=0.1))
    sign = 1 if sensitivity == "most" else -1
    for num_params in (0, 1, 10, 40, 57):
        mask = selection.select(given, num_params)
        assert mask.num_selected == num_params
        assert chosen(mask) == first({n: sign * s for n, s in expected.items()}, num_params)


def test_heads_stay_at_their_start_too():
    module = model()
    expected = fisher_at_the_start(module)
    given = candidates(module, rules=ScopeRules(whole=["2"]))
    selection = FisherInformation()
    train(selection, given, torch.optim.SGD(module.parameters(), lr=0.5))
    for name, score in selection.most(given):
        torch.testing.assert_close(score, expected[name], rtol=0, atol=1e-15)


def test_along_training_the_gradients_are_those_of_the_steps():
    """Accumulated batches count as one step; the weights move."""
    module, by_hand = model(), model()
    given = candidates(module)
    selection = FisherInformation(at_start=False)
    train(selection, given, torch.optim.SGD(module.parameters(), lr=0.5), 5, accumulate=2)

    x, y = examples()
    sums = {name: torch.zeros_like(p) for name, p in by_hand.named_parameters()}
    for start in range(0, 30, 10):
        mean = (loss(by_hand, x[start : start + 5], y[start : start + 5]) / 2) + (
            loss(by_hand, x[start + 5 : start + 10], y[start + 5 : start + 10]) / 2
        )
        gradients = torch.autograd.grad(mean, list(by_hand.parameters()))
        for (name, parameter), gradient in zip(by_hand.named_parameters(), gradients, strict=True):
            sums[name] += gradient**2
            parameter.data -= 0.5 * gradient
    for name, score in selection.most(given):
        torch.testing.assert_close(score, sums[name] / 3, rtol=1e-12, atol=0)


def test_least_ranks_exactly_where_a_formula_would_round():
    """Tiny and very different informations, ties by position, entries without a gradient first."""
    module = nn.Linear(6, 1, bias=False)
    given, selection = candidates(module), FisherInformation("least")
    module.weight.grad = torch.tensor([[1e-10, 1e-11, 0.0, 1e-10, 5.0, 1e-12]])
    selection.observe(given)
    order = [2, 5, 1, 0, 3, 4]
    for num_params in range(7):
        assert chosen(selection.select(given, num_params)) == sorted(order[:num_params])


def test_parameters_without_a_gradient_have_no_information():
    module = model()
    given, selection = candidates(module), FisherInformation("least")
    loss(module[0], *examples()).backward()
    selection.observe(given)
    assert chosen(selection.select(given, 21)) == list(range(36, 57))


BAD = [torch.nan, -torch.nan, torch.inf]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["maskable", "whole"])
def test_a_step_that_is_not_finite_is_as_if_it_had_not_been(bad, where):
    """Anywhere, also where a checkpoint is between; what is left is the mean over finite steps."""
    module = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False))
    given = candidates(module, rules=ScopeRules(whole=["1"]))
    body, head = module[0].weight, module[1].weight
    selection = FisherInformation()
    steps = [((1.0, 2.0), 1.0), ((5.0, bad), 1.0) if where == "maskable" else ((5.0, 5.0), bad)]
    for of_body, of_head in [*steps, ((3.0, 0.0), 1.0)]:
        body.grad, head.grad = torch.tensor([of_body]), torch.tensor([[of_head]])
        selection.observe(given)
        resumed = FisherInformation()
        resumed.load_state_dict(selection.state_dict())
        selection = resumed
    assert dict(selection.most(given))["0.weight"].tolist() == [[5.0, 2.0]]
    mask = selection.select(given, 1)
    assert chosen(mask) == [0]
    assert "without 1 of 3 steps" in selection.describe(given, mask)


@pytest.mark.parametrize("bad", BAD)
def test_gradients_that_are_never_finite_are_refused(bad):
    module = nn.Linear(2, 1, bias=False)
    given, selection = candidates(module), FisherInformation()
    for _ in range(2):
        module.weight.grad = torch.tensor([[1.0, bad]])
        selection.observe(given)
    with pytest.raises(LtsftError, match="finite gradients, but all 2 steps had NaN or infinite"):
        selection.select(given, 1)
    selection.reset()
    with pytest.raises(LtsftError, match="but no step was taken"):
        selection.select(given, 1)


def test_it_goes_on_where_it_was_saved_and_can_be_reset():
    module = model()
    given, whole = candidates(module), FisherInformation(at_start=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    train(whole, given, optimizer)
    train(whole, given, optimizer)

    module = model()
    given, half = candidates(module), FisherInformation(at_start=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    train(half, given, optimizer)
    resumed = FisherInformation(at_start=False)
    resumed.load_state_dict(half.state_dict())
    train(resumed, given, optimizer)
    for (_, expected), (_, score) in zip(whole.most(given), resumed.most(given), strict=True):
        assert torch.equal(score, expected)

    resumed.reset()
    with pytest.raises(LtsftError, match="expected to have seen gradients, but no step was taken"):
        resumed.select(given, 3)


def test_a_sensitivity_that_there_is_not_is_refused():
    with pytest.raises(LtsftError, match="`most` or `least`, but got 'all'"):
        FisherInformation("all")


def test_its_name_says_which():
    assert str(FisherInformation()) == "FisherInformation(most)"
    assert str(FisherInformation("least", False)) == "FisherInformation(least, along training)"
