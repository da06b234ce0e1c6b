"""Where the sparse phase starts: each rule against the loop written out by hand."""

import pytest
import torch

from ltsft.callbacks import Phase
from ltsft.errors import LtsftError
from ltsft.sparse import (
    LearningRate,
    Prune,
    Random,
    ScopeRules,
    Sign,
    ToStep,
)
from tests.callbacks.plain import Plain, callback, data, trainer, values
from tests.callbacks.test_resume import SaveAt
from tests.callbacks.test_sparse_mask import by_hand

K, DENSE, SPARSE = 10, 12, 15


def fit(rewinding, ckpt_path=None, extra=(), **settings):
    module = Plain()
    sft = callback(
        K, Phase(max_steps=DENSE), Phase(max_steps=SPARSE), rewinding=rewinding, **settings
    )
    run = trainer(sft, *extra)
    run.fit(module, data(), ckpt_path=ckpt_path)
    return module, sft.sft, run


def signs(initial, dense, _):
    """θ⁰ + sign(Δ) · mean |Δ| over the selected entries of the tensor, which a sort finds again."""
    change = {name: dense[name] - initial[name] for name in initial}
    every = torch.cat([c.abs().flatten() for c in change.values()])
    order = every.argsort(descending=True, stable=True)[:K]
    start, first = {}, 0
    for name, value in change.items():
        here = order[(order >= first) & (order < first + value.numel())] - first
        size = value.abs().flatten()[here.sort().values].mean() if len(here) else 0
        start[name] = initial[name] + value.sign() * size
        first += value.numel()
    return start


@pytest.mark.parametrize(
    ("rewinding", "rewind", "step"),
    [
        (ToStep(5), lambda initial, dense, early: early, 5),
        (LearningRate(), lambda initial, dense, early: dense, 0),
        (Sign(), signs, 0),
    ],
    ids=["step", "rate", "sign"],
)
def test_sparse_phase_starts_where_it_should(rewinding, rewind, step):
    """Same losses, schedule, mask and final weights, to the bit; unselected entries stay at θ⁰."""
    expected, loader = Plain(), data()
    before = values(expected)
    losses, masks = by_hand(expected, loader, K, DENSE, SPARSE, rewind=rewind, rewind_step=step)
    module, sft, run = fit(rewinding)
    assert module.losses == losses
    assert run.global_step == DENSE + SPARSE - step
    for name, value in values(module).items():
        assert torch.equal(value, expected.get_parameter(name)), name
        assert torch.equal(value[~masks[name]], before[name][~masks[name]])
    assert sft.num_params == K
    assert sft.metadata.rewinding == type(rewinding).__name__


def test_pruning_has_no_sparse_phase():
    """The K largest changes of θ¹ and nothing else; as many steps as the dense phase has."""
    expected = Plain()
    before = values(expected)
    _, masks = by_hand(expected, data(), K, DENSE, 0)
    module, sft, run = fit(Prune())
    dense = Plain()
    by_hand(dense, data(), 10**6, DENSE, 0, rewind=lambda initial, dense, early: dense)
    assert run.global_step == DENSE
    for name, value in values(module).items():
        trained = dense.get_parameter(name)
        assert torch.equal(value, torch.where(masks[name], trained, before[name])), name
    assert sft.num_params == K
    assert list(sft.metadata.phases) == ["dense"]


def test_heads_go_with_the_selected_entries():
    """After `LearningRate` whole parameters start from θ¹, after `Sign` from θ⁰."""
    scope = ScopeRules(whole=["layers.3"])

    class First(Plain):
        def training_step(self, batch, batch_idx):
            if self.trainer.global_step == DENSE:
                self.started = values(self)
            return super().training_step(batch, batch_idx)

    for rewinding, kept in ((LearningRate(), True), (Sign(), False)):
        module = First()
        before = values(module)
        sft = callback(
            K, Phase(max_steps=DENSE), Phase(max_steps=3), rewinding=rewinding, scope=scope
        )
        trainer(sft).fit(module, data())
        assert torch.equal(module.started["layers.3.weight"], before["layers.3.weight"]) != kept


@pytest.mark.parametrize("rewinding", [ToStep(5), LearningRate(), Prune()], ids=type)
def test_resumed_runs_end_the_same(tmp_path, rewinding):
    module, expected, _ = fit(rewinding, extra=[SaveAt(tmp_path, "on_train_epoch_end")])
    paths = list(tmp_path.glob("*.ckpt"))
    assert len(paths) >= 2
    for path in paths:
        resumed, sft, _ = fit(rewinding, ckpt_path=path)
        assert sft == expected, path.name
        for name, value in values(module).items():
            assert torch.equal(resumed.get_parameter(name), value), (path.name, name)


def test_steps_out_of_range():
    with pytest.raises(LtsftError, match=r"`sparse.rewinding.step` .* 1 or more, but got 0"):
        ToStep(0)
    with pytest.raises(LtsftError, match=r"below the length of both phases, 12 steps, but got 12"):
        fit(ToStep(12))


def test_without_a_dense_phase_there_is_nothing_to_go_back_to():
    with pytest.raises(LtsftError, match="`Random`, which has no dense phase, but got `Prune`"):
        callback(K, selection=Random(), rewinding=Prune())
