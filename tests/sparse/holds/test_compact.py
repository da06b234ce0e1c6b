"""Vectors of K entries train to the very bits that masking trains to."""

import copy
import warnings

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import Compact, Mask, Masked, Random, Ranks, Ticket, add_l1_gradient
from ltsft.sparse.holds.compact import ENTRYWISE
from tests.sparse.holds.test_masked import OPTIMIZERS


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(19, 23), nn.LayerNorm(23), nn.Tanh(), nn.Linear(23, 3))


def batches(num):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 19, generator=generator), torch.randn(8, 3, generator=generator))
        for _ in range(num)
    ]


def trained(hold, optimizers, num_params=150, loop=None, scope=None, make=net):
    """Weights and the last state, after some steps by a loop of a user."""
    module = make()
    ticket = Ticket(module, scope)
    ticket.select(Random(), num_params)
    stepped = optimizers(module)
    with ticket.hold(*stepped, by=hold):
        (loop or plain_loop)(module, ticket, hold, stepped)
    assert ticket.moved() == []
    return module, ticket


def plain_loop(module, ticket, hold, optimizers):
    for x, y in batches(6):
        for optimizer in optimizers:
            optimizer.zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()


def assert_same(one, other):
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


ENTRYWISE_SETTINGS = [(cls, settings) for cls, settings in OPTIMIZERS if cls in ENTRYWISE]


@pytest.mark.parametrize(("optimizer_class", "settings"), ENTRYWISE_SETTINGS)
def test_weights_are_those_of_masking_to_the_bit(optimizer_class, settings):
    def optimizers(module):
        return [optimizer_class(module.parameters(), **settings)]

    masked, _ = trained(Masked(), optimizers)
    compact, ticket = trained(Compact(), optimizers)
    if settings.get("fused"):  # its vector lanes and its last few entries round differently
        for a, b in zip(masked.parameters(), compact.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    else:
        assert_same(masked, compact)
    assert ticket.difference().num_params == 150


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_fused_step_is_the_same_to_the_bit_where_vectors_fill_its_lanes(weight_decay):
    """What it rounds otherwise is the last few entries that fill no lanes, and nothing else."""

    def optimizers(module):
        return [torch.optim.AdamW(module.parameters(), 0.1, fused=True, weight_decay=weight_decay)]

    def loop(module, ticket, hold, optimizers):
        for x, _ in batches(6):
            optimizers[0].zero_grad()
            module(x).square().mean().backward()
            optimizers[0].step()

    def filling():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(19, 64, bias=False))

    masked, compact = (
        trained(h, optimizers, 512, loop, make=filling) for h in (Masked(), Compact())
    )
    assert_same(masked[0], compact[0])


def accumulating(module, ticket, hold, optimizers):
    for number, (x, y) in enumerate(batches(9)):
        nn.functional.mse_loss(module(x), y).backward()
        if number % 3 == 2:
            optimizers[0].step()
            optimizers[0].zero_grad()


def cleared_by_the_module(module, ticket, hold, optimizers):
    """Its own `zero_grad` knows nothing of the vectors."""
    for x, y in batches(6):
        module.zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        optimizers[0].step()


def set_by_hand(module, ticket, hold, optimizers):
    parameters = [p for p in module.parameters() if p.requires_grad]
    for x, y in batches(6):
        loss = nn.functional.mse_loss(module(x), y)
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizers[0].step()


def penalised(module, ticket, hold, optimizers):
    for x, y in batches(6):
        optimizers[0].zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        add_l1_gradient(ticket, 3.0, hold)
        optimizers[0].step()


def scheduled(module, ticket, hold, optimizers):
    """A rate that falls by a metric, over groups with rates of their own."""
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers[0], patience=0)
    for x, y in batches(6):
        optimizers[0].zero_grad()
        loss = nn.functional.mse_loss(module(x), y)
        loss.backward()
        optimizers[0].step()
        schedule.step(loss.item())


def scaled(module, ticket, hold, optimizers):
    """A gradient scaler skips a step in which a selected entry's gradient is infinite."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    for number, (x, y) in enumerate(batches(6)):
        optimizers[0].zero_grad()
        loss = nn.functional.mse_loss(module(x), y)
        scaler.scale(loss * (torch.inf if number == 3 else 1)).backward()
        scaler.unscale_(optimizers[0])
        scaler.step(optimizers[0])
        scaler.update()


@pytest.mark.parametrize(
    "loop",
    [accumulating, cleared_by_the_module, set_by_hand, penalised, scheduled, scaled],
    ids=lambda loop: loop.__name__,
)
def test_whatever_the_loop(loop):
    def optimizers(module):
        groups = [
            {"params": module[0].parameters(), "lr": 0.05},
            {"params": [*module[1].parameters(), *module[3].parameters()], "weight_decay": 0.3},
        ]
        return [torch.optim.AdamW(groups, lr=0.01)]

    masked, _ = trained(Masked(), optimizers, loop=loop)
    compact, _ = trained(Compact(), optimizers, loop=loop)
    assert_same(masked, compact)
    assert not torch.equal(compact[3].weight, net()[3].weight)


def test_two_optimizers_that_take_turns():
    """One's gradients are no business of the other, as `toggle_optimizer` of Lightning says."""

    def optimizers(module):
        return [
            torch.optim.AdamW(module[0].parameters(), lr=0.05),
            torch.optim.SGD(module[3].parameters(), lr=0.1, momentum=0.9),
        ]

    def turns(module, ticket, hold, optimizers):
        for number, (x, y) in enumerate(batches(6)):
            optimizer = optimizers[number % 2]
            others = [p for g in optimizers[1 - number % 2].param_groups for p in g["params"]]
            for parameter in others:
                parameter.requires_grad_(False)
            nn.functional.mse_loss(module(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            for parameter in others:
                parameter.requires_grad_(True)

    assert_same(
        trained(Masked(), optimizers, loop=turns)[0], trained(Compact(), optimizers, loop=turns)[0]
    )


def test_a_clipped_norm_counts_what_moves_up_to_rounding():
    def optimizers(module):
        return [torch.optim.SGD(module.parameters(), lr=0.1)]

    def clipped(module, ticket, hold, optimizers):
        for x, y in batches(6):
            optimizers[0].zero_grad()
            nn.functional.mse_loss(module(x), y).backward()
            stepped = [p for group in optimizers[0].param_groups for p in group["params"]]
            norm = nn.utils.clip_grad_norm_(stepped, 0.1)
            norms.append(norm.item())
            optimizers[0].step()

    norms: list[float] = []
    masked, _ = trained(Masked(), optimizers, loop=clipped)
    compact, _ = trained(Compact(), optimizers, loop=clipped)
    assert norms[6:] == pytest.approx(norms[:6], rel=1e-6)
    for a, b in zip(masked.parameters(), compact.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_optimizer_and_gradients_are_of_the_size_of_k():
    """And a tensor without selected entries gets no gradient at all."""
    module = net()
    ticket = Ticket(module)
    ticket.select(Random(), 40)
    without = {
        name: ticket.mask[name] & (name not in ("0.bias", "1.weight")) for name in ticket.mask
    }
    ticket.mask = Mask(without)
    num_selected = ticket.mask.num_selected
    optimizer = torch.optim.AdamW(module.parameters())
    before = [list(group["params"]) for group in optimizer.param_groups]
    with ticket.hold(optimizer, by=Compact()):
        for x, y in batches(2):
            nn.functional.mse_loss(module(x), y).backward()
            assert all(parameter.grad is None for parameter in module.parameters())
            assert not any(p.requires_grad for p in (module[0].bias, module[1].weight))
            optimizer.step()
        stepped = [p for group in optimizer.param_groups for p in group["params"]]
        assert sum(p.numel() for p in stepped) == num_selected
        assert sum(p.grad.numel() for p in stepped) == num_selected
        moments = [state["exp_avg"].numel() for state in optimizer.state.values()]
        assert sum(moments) == num_selected
    after = [list(group["params"]) for group in optimizer.param_groups]
    assert [[id(p) for p in group] for group in after] == [[id(p) for p in g] for g in before]
    assert all(parameter.requires_grad for parameter in module.parameters())
    nn.functional.mse_loss(module(x), y).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_state_from_before_goes_on_as_under_masking():
    def optimizers(module):
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
        start = copy.deepcopy(module.state_dict())
        plain_loop(module, None, None, [optimizer])
        module.load_state_dict(start)
        return [optimizer]

    assert_same(trained(Masked(), optimizers)[0], trained(Compact(), optimizers)[0])


@pytest.mark.parametrize("kind", ["mixes entries", "not contiguous"])
def test_where_entries_cannot_be_stepped_alone_it_masks_and_says_so(kind):
    def make():
        module = net()
        if kind == "not contiguous":
            module[0].weight.data = torch.randn(19, 23, generator=torch.Generator()).t()
        return module

    def optimizers(module):
        if kind == "mixes entries":
            return [torch.optim.Adafactor(module.parameters(), lr=0.1)]
        return [torch.optim.SGD(module.parameters(), lr=0.1)]

    masked, _ = trained(Masked(), optimizers, make=make)
    reason = {"mixes entries": "Adafactor may step", "not contiguous": "`0.weight` is not contig"}
    with pytest.warns(UserWarning, match=f"`Masked` instead of `Compact`: {reason[kind]}"):
        compact, _ = trained(Compact(), optimizers, make=make)
    assert_same(masked, compact)


def test_no_word_where_it_holds():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(Compact(), lambda module: [torch.optim.AdamW(module.parameters())])


def test_values_that_others_write_are_not_lost_in_silence():
    def clamped(module, ticket, hold, optimizers):
        for x, y in batches(6):
            optimizers[0].zero_grad()
            nn.functional.mse_loss(module(x), y).backward()
            optimizers[0].step()
            with torch.no_grad():
                module[3].weight.clamp_(-0.01, 0.01)

    with pytest.raises(LtsftError, match="entries of `3.weight` .* changed between two steps"):
        trained(Compact(), lambda m: [torch.optim.SGD(m.parameters(), lr=0.1)], loop=clamped)


def test_what_is_in_place_for_a_backward_pass_only_changes_nothing_else():
    """A language's fine-tuning, which is off before the step is taken."""

    def over(module, ticket, hold, optimizers):
        for x, y in batches(6):
            optimizers[0].zero_grad()
            before = module[3].weight.detach().clone()

            def closure(before=before, x=x, y=y):
                loss = nn.functional.mse_loss(module(x), y)
                loss.backward()
                with torch.no_grad():
                    module[3].weight.copy_(before)
                return loss

            with torch.no_grad():
                module[3].weight += 1.0
            optimizers[0].step(closure)

    def optimizers(module):
        return [torch.optim.AdamW(module.parameters(), lr=0.01)]

    assert_same(
        trained(Masked(), optimizers, loop=over)[0], trained(Compact(), optimizers, loop=over)[0]
    )


class _Averaging(Ranks):
    averages_gradients = True


def test_where_gradients_are_averaged_they_are_taken_on_demand():
    """What a backward pass leaves is a rank's own until it has been averaged."""
    module = net()
    ticket = Ticket(module, ranks=_Averaging())
    ticket.select(Random(), 150)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    hold = Compact()
    hold.attach(ticket, [optimizer])
    x, y = batches(1)[0]
    nn.functional.mse_loss(module(x), y).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    with pytest.raises(LtsftError, match="`0.weight` is expected to be taken before a step"):
        optimizer.step()
    hold.mask_gradients()
    assert all(parameter.grad is None for parameter in module.parameters())
    optimizer.step()
    assert ticket.moved() == []
    assert ticket.has_moved()


class Words(nn.Module):
    """Looks words up, and may tie its output to them, or look them up in two places."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.words = nn.Embedding(31, 6, padding_idx=0)
        self.places = nn.Embedding(5, 6)
        self.mix = nn.Linear(6, 6)
        self.output = nn.Linear(6, 31)
        if kind == "tied":
            self.output.weight = self.words.weight

    def forward(self, ids):
        hidden = self.words(ids) + self.places(torch.arange(5))
        if self.kind == "in two places":
            hidden = hidden + self.words(ids.flip(1))
        return self.output(torch.tanh(self.mix(hidden)))


def of_words(module, ticket, hold, optimizers):
    """Many words occur twice in a batch; three batches make a step."""
    generator = torch.Generator().manual_seed(1)
    for number in range(9):
        ids = torch.randint(0, 12, (4, 5), generator=generator)
        loss = nn.functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten())
        loss.backward()
        if number % 3 == 2:
            optimizers[0].step()
            optimizers[0].zero_grad()


@pytest.mark.parametrize("kind", ["in one place", "in two places", "tied"])
def test_embeddings_train_alike_and_make_no_gradient_of_their_size(kind):
    """But for one that is tied to a layer, whose gradient is dense in any case."""

    def optimizers(module):
        module.words.weight.register_hook(lambda g: made.append(0 if g is None else len(g)))
        return [torch.optim.AdamW(module.parameters(), lr=0.01)]

    made: list[int] = []
    masked, _ = trained(Masked(), optimizers, loop=of_words, make=lambda: Words(kind))
    assert set(made) == {31}
    made.clear()
    compact, ticket = trained(Compact(), optimizers, loop=of_words, make=lambda: Words(kind))
    assert set(made) == ({31} if kind == "tied" else {0})
    assert "forward" not in vars(compact.words)
    if kind == "in two places":  # the two are summed in another order
        for (name, a), b in zip(masked.named_parameters(), compact.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, msg=name)
    else:
        assert_same(masked, compact)
    changed = compact.words.weight != Words(kind).words.weight
    assert changed.sum() > 5
    assert not (changed & ~ticket.mask["words.weight"]).any()
