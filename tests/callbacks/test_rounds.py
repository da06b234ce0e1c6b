"""Select and rewind several times: against a loop written out by hand, with full sorts."""

from itertools import pairwise

import pytest
import torch

from ltsft.callbacks import Phase
from ltsft.errors import LtsftError
from ltsft.sparse import LargestChange, Prune, Random, select_largest
from ltsft.sparse.budget import shrinking
from tests.callbacks.plain import Plain, callback, data, trainer, values
from tests.callbacks.test_resume import SaveAt

K, DENSE, SPARSE, ROUNDS = 10, 6, 8, 3


def train(module, steps, masks, initial):
    """One phase in which only the entries of `masks` move."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    batches = [batch for _ in range(10) for batch in data()][:steps]
    for step, batch in enumerate(batches):
        module.loss(batch).backward()
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        for name, parameter in module.named_parameters():
            parameter.grad[~masks[name]] = 0
        optimizer.step()
        optimizer.zero_grad()
        for name, parameter in module.named_parameters():
            parameter.data[~masks[name]] = initial[name][~masks[name]]


def by_hand():
    module = Plain()
    initial = values(module)
    masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in initial.items()}
    total = sum(value.numel() for value in initial.values())
    sizes = []
    for number in range(1, ROUNDS + 1):
        train(module, DENSE, masks, initial)
        size = K if number == ROUNDS else round(total * (K / total) ** (number / ROUNDS))
        change = [
            ((value - initial[name]).abs().masked_fill(~masks[name], -1)).flatten()
            for name, value in values(module).items()
        ]
        chosen = torch.zeros(total, dtype=torch.bool)
        chosen[torch.cat(change).argsort(descending=True, stable=True)[:size]] = True
        parts = chosen.split([len(c) for c in change])
        masks = {
            name: part.view(value.shape)
            for (name, value), part in zip(initial.items(), parts, strict=True)
        }
        sizes.append(size)
        for name, parameter in module.named_parameters():
            parameter.data.copy_(initial[name])
    train(module, SPARSE, masks, initial)
    return module, masks, sizes


def fit(ckpt_path=None, extra=(), **settings):
    module = Plain()
    phases = Phase(max_steps=DENSE), Phase(max_steps=SPARSE)
    sft = callback(K, *phases, **({"rounds": ROUNDS} | settings))
    run = trainer(sft, *extra)
    run.fit(module, data(), ckpt_path=ckpt_path)
    return module, sft.sft, run


def test_rounds_equal_a_loop_written_by_hand():
    """Same final mask and weights, to the bit; everything else stays at its start."""
    expected, masks, sizes = by_hand()
    module, sft, run = fit()
    assert run.global_step == ROUNDS * DENSE + SPARSE
    assert sft.num_params == K
    assert sft.metadata.rounds == ROUNDS
    assert sizes == shrinking(sum(p.numel() for p in module.parameters()), K, ROUNDS)
    before = values(Plain())
    for name, value in values(module).items():
        assert torch.equal(value, expected.get_parameter(name)), name
        assert torch.equal(value[~masks[name]], before[name][~masks[name]])


class Fickle(LargestChange):
    """Prefers late entries in one round and early ones in the next, whatever changed."""

    def __init__(self):
        self.masks = []

    def select(self, candidates, num_params):
        scores, first = {}, 0
        for name, parameter in candidates.parameters():
            places = torch.arange(first, first + parameter.numel(), dtype=torch.float32)
            first += parameter.numel()
            scores[name] = (1000 - places if len(self.masks) % 2 else places).view(parameter.shape)
        self.masks.append(select_largest(scores, num_params, candidates.within))
        return self.masks[-1]


def test_a_round_chooses_among_what_the_one_before_left():
    """Also where the criterion would rather have others."""
    selection = Fickle()
    fit(selection=selection)
    assert len(selection.masks) == ROUNDS
    for before, after in pairwise(selection.masks):
        assert after.num_selected < before.num_selected
        assert all(not (after[name] & ~before[name]).any() for name in after)


def test_rounds_without_a_sparse_phase():
    """The last dense phase of the two that prune ends the fit."""
    _, sft, run = fit(rewinding=Prune(), rounds=2)
    assert run.global_step == 2 * DENSE
    assert sft.num_params == K


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end"])
def test_resumed_runs_end_the_same(tmp_path, hook):
    module, expected, _ = fit(extra=[SaveAt(tmp_path, hook)])
    for path in tmp_path.glob("*.ckpt"):
        resumed, sft, _ = fit(ckpt_path=path)
        assert sft == expected, path.name
        for name, value in values(module).items():
            assert torch.equal(resumed.get_parameter(name), value), (path.name, name)


def test_selecting_within_a_set_equals_sorting_its_scores():
    """Exactly K, all inside, the largest there; where all scores are 0 too."""
    generator = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(5, 7, generator=generator), "b": torch.zeros(11)}
    within = {n: torch.rand(s.shape, generator=generator) < 0.5 for n, s in scores.items()}
    inside = torch.cat([scores[name][within[name]] for name in scores])
    for k in (0, 3, len(inside)):
        mask = select_largest(scores, k, within)
        assert mask.num_selected == k
        assert all(not (mask[name] & ~within[name]).any() for name in scores)
        chosen = torch.cat([scores[name][mask[name]] for name in scores])
        assert chosen.sort().values.tolist() == inside.sort().values[len(inside) - k :].tolist()
    with pytest.raises(LtsftError):
        select_largest(scores, len(inside) + 1, within)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "`sparse.rounds` is expected to be 1 or more, but got 0"),
        ({"rounds": 2, "selection": Random()}, "`Random`, which has no dense phase"),
    ],
)
def test_rounds_that_cannot_be(settings, message):
    with pytest.raises(LtsftError, match=message):
        callback(K, **settings)
