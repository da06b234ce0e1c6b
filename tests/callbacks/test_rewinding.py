"""Where the sparse phase starts: each rule against the loop written out by hand."""

import pytest
import torch

from ltsft.callbacks import Phase
from ltsft.errors import LtsftError
from ltsft.sparse import (
    DiffPruning,
    FisherInformation,
    LearningRate,
    Masked,
    Prune,
    Quota,
    Random,
    ScopeRules,
    Shrinking,
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


@pytest.mark.parametrize("rewinding", [ToStep(5), LearningRate(), Sign(), Prune()], ids=str)
def test_resumed_runs_end_the_same(tmp_path, rewinding):
    module, expected, _ = fit(rewinding, extra=[SaveAt(tmp_path, "on_train_epoch_end")])
    paths = list(tmp_path.glob("*.ckpt"))
    assert len(paths) >= 2
    for path in paths:
        resumed, sft, _ = fit(rewinding, ckpt_path=path)
        assert sft == expected, path.name
        for name, value in values(module).items():
            assert torch.equal(resumed.get_parameter(name), value), (path.name, name)


@pytest.mark.parametrize(
    ("rewinding", "kept"), [(LearningRate(), "dense"), (ToStep(5), "step"), (Sign(), "start")]
)
def test_buffers_go_with_the_heads(rewinding, kept):
    """BatchNorm's statistics start the sparse phase as they were when the weights were theirs."""

    class Watched(Plain):
        def training_step(self, batch, batch_idx):
            now = self.layers[1].running_mean.clone()
            self.means.append(now)
            return super().training_step(batch, batch_idx)

    module = Watched(batch_norm=True)
    module.means = []
    sft = callback(K, Phase(max_steps=DENSE), Phase(max_steps=SPARSE), rewinding=rewinding)
    trainer(sft).fit(module, data())
    # Seen before each batch: after 12 steps the sparse phase's first batch sees its start, which
    # for the end of the dense phase is one update more than its last batch saw.
    start = module.means[DENSE]
    if kept == "dense":
        assert not torch.equal(start, module.means[DENSE - 1])
        assert start.abs().sum() > 0
    else:
        assert torch.equal(start, {"step": module.means[5], "start": module.means[0]}[kept])


def test_the_step_is_over_with_its_last_batch():
    """Of accumulated batches: statistics as they were when the step was taken, in one copy."""

    class Watched(Plain):
        def training_step(self, batch, batch_idx):
            self.means.append(self.layers[1].running_mean.clone())
            return super().training_step(batch, batch_idx)

    module = Watched(batch_norm=True)
    module.means = []
    sft = callback(K, Phase(max_steps=4), Phase(max_steps=4), rewinding=ToStep(2))
    trainer(sft, accumulate_grad_batches=5).fit(module, data())
    # Before the sparse phase's first batch, as before that of the dense phase's third step.
    assert torch.equal(module.means[4 * 5], module.means[2 * 5])


def test_what_pruning_leaves_has_the_statistics_of_the_dense_phase():
    module, dense = Plain(batch_norm=True), Plain(batch_norm=True)
    sft = callback(K, Phase(max_steps=DENSE), Phase(max_steps=3), rewinding=Prune())
    trainer(sft).fit(module, data())
    trainer(callback(50, Phase(max_steps=DENSE), rewinding=Prune())).fit(dense, data())
    assert module.layers[1].running_mean.abs().sum() > 0
    assert torch.equal(module.layers[1].running_mean, dense.layers[1].running_mean)
    assert "layers.1.running_mean" in sft.sft.whole


def test_a_dense_phase_does_not_end_before_the_step_to_go_back_to():
    """Patience ran out long before; the sparse phase starts from that step all the same."""

    class Worse(Plain):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", float(self.trainer.global_step))

    sft = callback(
        K,
        Phase(max_steps=90, patience=1),
        Phase(max_steps=60),
        rewinding=ToStep(50),
        monitor="val_loss",
        mode="min",
    )
    run = trainer(sft, num_sanity_val_steps=0)
    run.fit(Worse(), data(), data(seed=2))
    steps = [phase["steps"] for phase in sft.sft.metadata.phases.values()]
    assert steps == [50, 10]
    assert run.global_step == 60


@pytest.mark.parametrize("selection", [DiffPruning(l0=0.01), FisherInformation(at_start=False)])
def test_a_pruned_fit_resumed_after_its_end_stays_as_it_is(tmp_path, selection):
    """What the selection saw in the dense phase is forgotten by then; the choice is not."""
    settings = {"rewinding": Prune(), "selection": selection}
    expected = callback(K, Phase(max_steps=DENSE), **settings)
    run = trainer(expected)
    run.fit(Plain(), data())
    run.save_checkpoint(tmp_path / "end.ckpt")
    again = callback(K, Phase(max_steps=DENSE), **settings)
    trainer(again).fit(Plain(seed=3), data(), ckpt_path=tmp_path / "end.ckpt")
    assert again.sft == expected.sft


OTHERS = {
    "selection": ({"selection": FisherInformation(at_start=False)}, "it was LargestChange there"),
    "rewinding": ({"rewinding": ToStep(3)}, r"it was ToStart there and is ToStep\(3\) here"),
    "rounds": ({"rounds": Shrinking(2)}, r"it was Growing\(1\) there and is Shrinking\(2\) here"),
    "hold": ({"hold": Masked()}, "it was Compact there and is Masked here"),
    "scope": (
        {"scope": ScopeRules(whole=["layers.3"])},
        "it was 4 maskable and 0 whole there and is 2 maskable and 2 whole here",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_fit_goes_on_with_the_settings_it_had(other, tmp_path):
    """One line that names the option, instead of a run that is neither the one nor the other."""
    trainer(callback(K), SaveAt(tmp_path, "on_train_epoch_end", [10])).fit(Plain(), data())
    settings, message = OTHERS[other]
    with pytest.raises(LtsftError, match=f"the same `sparse.{other}`, but {message}"):
        trainer(callback(K, **settings)).fit(Plain(), data(), ckpt_path=tmp_path / "10.ckpt")


def test_a_schedule_by_a_metric_has_no_step_to_go_back_to():
    class Plateau(Plain):
        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            how = {"scheduler": scheduler, "monitor": "val_loss", "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": {**how, "strict": False}}

    sft = callback(K, rewinding=ToStep(5))
    with pytest.raises(LtsftError, match="another than `ToStep` with a schedule .* by a metric"):
        trainer(sft).fit(Plateau(), data(), data(seed=2))


def test_steps_out_of_range():
    with pytest.raises(LtsftError, match=r"`sparse.rewinding.step` .* 1 or more, but got 0"):
        ToStep(0)
    with pytest.raises(LtsftError, match=r"below the length of both phases, 12 steps, but got 12"):
        fit(ToStep(12))


@pytest.mark.parametrize("rewinding", [ToStep(3), LearningRate(), Sign(), Prune()], ids=str)
def test_weights_that_stay_at_their_start_give_nothing_to_rewind(rewinding):
    for selection in (FisherInformation(), Quota(FisherInformation())):
        with pytest.raises(LtsftError, match="`ToStart` with .* keeps the weights at their start"):
            callback(K, selection=selection, rewinding=rewinding)
    callback(K, selection=FisherInformation(at_start=False), rewinding=rewinding)


def test_without_a_dense_phase_there_is_nothing_to_go_back_to():
    with pytest.raises(LtsftError, match="`Random`, which has no dense phase, but got `Prune`"):
        callback(K, selection=Random(), rewinding=Prune())
