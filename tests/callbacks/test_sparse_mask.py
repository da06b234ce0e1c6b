"""The callback does what Algorithm 1 says, judged by a loop written out by hand."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn

from ltsft.callbacks import Phase, SparseMaskCallback
from ltsft.errors import LtsftError
from ltsft.sparse import (
    AllEntries,
    Biases,
    Budget,
    Compact,
    LargestChange,
    Masked,
    NoEntries,
    Random,
    ScopeRules,
    SparseFineTuning,
)
from tests.callbacks.plain import Plain, callback, data, trainer, values


def by_hand(
    module,
    loader,
    num_params,
    dense_steps,
    sparse_steps,
    clip=None,
    l1=0.0,
    accumulate=1,
    rewind=lambda initial, dense, early: initial,
    rewind_step=0,
):
    """Algorithm 1 with plain torch: no callback, no hook, a full sort."""
    names = list(values(module))
    parameters = dict(module.named_parameters())
    initial = values(module)
    total = sum(p.numel() for p in parameters.values())

    early = {}

    def train(steps, masks, step=0):
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
        losses = []
        while step < steps:
            batches = list(loader)
            for index, batch in enumerate(batches):
                loss = module.loss(batch)
                losses.append(loss.item())
                (loss / accumulate).backward()
                if (index + 1) % accumulate and index + 1 < len(batches):
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = 0.05 * (1 - step / steps)
                for name, parameter in parameters.items():
                    if masks is not None:
                        parameter.grad[~masks[name]] = 0
                    parameter.grad += l1 / total * torch.sign(parameter.data - initial[name])
                if clip:
                    nn.utils.clip_grad_norm_(module.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
                if masks is not None:
                    for name, parameter in parameters.items():
                        parameter.data[~masks[name]] = initial[name][~masks[name]]
                step += 1
                if step == rewind_step and masks is None:
                    early.update(values(module))
                if step == steps:
                    break
        return losses

    losses = train(dense_steps, None)
    change = torch.cat([(parameters[n].data - initial[n]).abs().flatten() for n in names])
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[change.argsort(descending=True, stable=True)[:num_params]] = True
    sizes = [initial[n].numel() for n in names]
    masks = {
        name: part.view(initial[name].shape)
        for name, part in zip(names, chosen.split(sizes), strict=True)
    }
    start = rewind(initial, values(module), early)
    for name, parameter in parameters.items():
        parameter.data.copy_(torch.where(masks[name], start[name], initial[name]))
    return losses + train(sparse_steps, masks, rewind_step), masks


@pytest.mark.parametrize(
    ("clip", "l1", "accumulate"),
    [(None, 0.0, 1), (0.1, 0.0, 1), (None, 5.0, 1), (0.1, 5.0, 3)],
    ids=["plain", "clipped", "L1", "clipped, L1, accumulated"],
)
@pytest.mark.parametrize("hold", [Masked, Compact])
def test_both_phases_equal_a_loop_written_by_hand(clip, l1, accumulate, hold):
    """Same losses in every step of both phases, same mask, same final weights, to the bit.

    But where vectors of K entries are clipped, whose norm is summed in another order.
    """
    is_exact = clip is None or hold is Masked
    expected_module, loader = Plain(), data()
    losses, masks = by_hand(expected_module, loader, 10, 12, 15, clip, l1, accumulate)

    module = Plain()
    before = values(module)
    sft = callback(
        10, dense=Phase(max_steps=12, l1=l1), sparse=Phase(max_steps=15, l1=l1), hold=hold()
    )
    run = trainer(sft, gradient_clip_val=clip, accumulate_grad_batches=accumulate)
    run.fit(module, loader)

    assert module.losses == (losses if is_exact else pytest.approx(losses, rel=1e-6))
    for name, expected in values(expected_module).items():
        tolerance = 0 if is_exact else 1e-6
        found = module.get_parameter(name).detach()
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        indices = masks[name].flatten().nonzero().flatten()
        if len(indices):
            assert torch.equal(sft.sft.entries[name].indices, indices)
    assert sft.sft.num_params == 10
    assert run.global_step == 27
    for name, value in values(module).items():
        assert torch.equal(value[~masks[name]], before[name][~masks[name]])


def test_five_lines_and_one_added():
    """Any LightningModule trains with the callback; Lightning's default limit is lifted."""

    class Line(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def training_step(self, batch):
            return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module, sft = Line(), SparseMaskCallback(Budget(density=0.5))
    before = values(module)
    lightning.Trainer(callbacks=[sft], accelerator="cpu", logger=False).fit(module, data())
    moved = sum(int((values(module)[name] != before[name]).sum()) for name in before)
    assert moved == sft.sft.num_params == 10  # half of 21, rounded to even
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert "configure_optimizers" not in vars(module)


def test_best_weights_of_each_phase_are_taken():
    """The metric is scripted: the second validation of each phase is best."""

    class Scripted(Plain):
        def __init__(self):
            super().__init__()
            self.script = iter([3.0, 1.0, 2.0, 0.9, 0.5, 0.7])
            self.seen = []

        def on_validation_epoch_end(self):
            if not self.trainer.sanity_checking:
                self.log("score", next(self.script))
                self.seen.append(values(self))
            else:
                self.log("score", 9.0)

    module = Scripted()
    sft = callback(10, Phase(max_epochs=3), Phase(max_epochs=3), monitor="score", mode="min")
    initial = values(module)
    trainer(sft).fit(module, data(), data(seed=2))
    dense_best, sparse_best = module.seen[1], module.seen[4]
    change = torch.cat([(dense_best[n] - initial[n]).abs().flatten() for n in initial])
    chosen = change.argsort(descending=True, stable=True)[:10].sort().values
    offset, found = 0, []
    for name, start in initial.items():
        if name in sft.sft.entries:
            found += (sft.sft.entries[name].indices + offset).tolist()
        offset += start.numel()
        assert torch.equal(values(module)[name], sparse_best[name])
    assert found == chosen.tolist()
    assert sft.sft.metadata.phases["dense"]["best"] == 1.0
    assert sft.sft.metadata.phases["sparse"]["best"] == 0.5


def test_patience_ends_a_phase():
    class Worse(Plain):
        def on_validation_epoch_end(self):
            self.log("score", float(self.trainer.global_step))

    module = Worse()
    sft = callback(
        5,
        Phase(max_epochs=50, patience=2),
        Phase(max_epochs=50, patience=1),
        monitor="score",
        mode="min",
    )
    run = trainer(sft)
    run.fit(module, data(), data(seed=2))
    assert run.global_step == 30 + 20  # first validation is best, then two and one in vain
    assert sft.sft is not None


def test_heads_and_buffers_are_rewound_and_kept_whole():
    class Watch(Callback):
        def on_train_epoch_start(self, trainer, module):
            if sft.phase == "sparse" and not hasattr(self, "rewound"):
                self.rewound = {n: t.clone() for n, t in module.state_dict().items()}

    module, watch = Plain(batch_norm=True), Watch()
    initial = {n: t.clone() for n, t in module.state_dict().items()}
    scope = ScopeRules(whole=["layers.4"], frozen=["type:*Norm*"])
    sft = callback(6, scope=scope)
    trainer(sft, watch).fit(module, data())
    for name, value in initial.items():
        assert torch.equal(watch.rewound[name], value), name
    whole = {"layers.4.weight", "layers.4.bias"}
    buffers = {f"layers.1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(sft.sft.whole) == whole | buffers
    for name in whole | buffers:
        assert torch.equal(sft.sft.whole[name], module.state_dict()[name])
    for name in ("layers.1.weight", "layers.1.bias"):
        assert torch.equal(module.state_dict()[name], initial[name])


def test_the_saved_fine_tuning_makes_the_trained_model_of_a_fresh_one(tmp_path):
    module, fresh = Plain(), Plain()
    trainer(callback(output_dir=str(tmp_path))).fit(module, data())
    sft = SparseFineTuning.from_pretrained(tmp_path)
    with sft.apply(fresh):
        for name, value in values(module).items():
            torch.testing.assert_close(fresh.get_parameter(name), value, rtol=0, atol=1e-7)


def test_random_runs_no_dense_step():
    module = Plain()
    sft = callback(10, selection=Random(seed=3), sparse=Phase(max_steps=15))
    run = trainer(sft)
    run.fit(module, data())
    assert run.global_step == 15
    assert list(sft.sft.metadata.phases) == ["sparse"]


def test_biases_need_no_budget_and_move_nothing_else():
    module = Plain()
    before = values(module)
    sft = SparseMaskCallback(sparse=Phase(max_steps=5), selection=Biases())
    trainer(sft).fit(module, data())
    assert {n for n in before if not torch.equal(values(module)[n], before[n])} == {
        "layers.0.bias",
        "layers.3.bias",
    }
    assert sft.sft.num_params == 11


def test_all_entries_are_full_fine_tuning_in_one_phase():
    """Bit for bit what the Trainer does without the callback."""
    module, plain = Plain(), Plain()
    sft = SparseMaskCallback(sparse=Phase(max_steps=15), selection=AllEntries())
    run = trainer(sft)
    run.fit(module, data())
    trainer(max_steps=15).fit(plain, data())
    assert run.global_step == 15
    assert list(sft.sft.metadata.phases) == ["sparse"]
    assert sft.sft.num_params == sft.sft.metadata.num_maskable == 83
    for name, value in values(plain).items():
        assert torch.equal(values(module)[name], value)


@pytest.mark.parametrize("maskable", [True, False])
def test_no_entries_train_whole_parameters_alone(maskable):
    """Whether the rest is frozen by the scope, or maskable and not selected."""
    module = Plain()
    before = values(module)
    scope = ScopeRules(whole=["layers.3"], frozen=[] if maskable else ["layers.0"])
    sft = SparseMaskCallback(sparse=Phase(max_steps=5), selection=NoEntries(), scope=scope)
    trainer(sft).fit(module, data())
    head = {"layers.3.weight", "layers.3.bias"}
    assert {n for n in before if not torch.equal(values(module)[n], before[n])} == head
    assert sft.sft.whole.keys() == head
    assert sft.sft.num_params == len(sft.sft.entries) == 0
    fresh = Plain()
    with sft.sft.apply(fresh):
        for name, value in values(module).items():
            assert torch.equal(fresh.get_parameter(name), value)
    if maskable:
        other = Plain(seed=1)
        with pytest.raises(LtsftError, match="weights it was trained from.*layers.0.weight"):
            sft.sft.apply(other)


def test_schedules_see_the_length_of_the_phase():
    """`estimated_stepping_batches` is the phase's; a linear schedule ends at 0 in both."""
    rates, estimates = [], []

    class Watch(Plain):
        def configure_optimizers(self):
            estimates.append(self.trainer.estimated_stepping_batches)
            return super().configure_optimizers()

        def on_train_batch_start(self, batch, batch_idx):
            rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    trainer(callback(dense=Phase(max_steps=12), sparse=Phase(max_epochs=2))).fit(Watch(), data())
    assert estimates == [12, 20]
    expected = [0.05 * (1 - s / n) for n in (12, 20) for s in range(n)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"fast_dev_run": True}, 2),
        ({"fast_dev_run": 3}, 6),
        ({"limit_train_batches": 4}, 12 + 15),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, 12 + 15),
        ({"accumulate_grad_batches": 4}, 12 + 15),
        ({"precision": "bf16-mixed"}, 12 + 15),
        ({"precision": "bf16-true"}, 12 + 15),
        ({"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, 12 + 15),
        ({"reload_dataloaders_every_n_epochs": 1}, 12 + 15),
    ],
    ids=lambda value: str(value),
)
def test_works_with_the_trainers_options(settings, steps):
    module = Plain()
    if settings.get("precision") == "bf16-true":
        module.to(torch.bfloat16)
    before = values(module)
    sft = callback(10, monitor="val_loss", mode="min")
    run = trainer(sft, **settings)
    run.fit(module, data(), data(seed=2))
    assert run.global_step == steps
    moved = {n: values(module)[n] != before[n] for n in before}
    assert 0 < sum(int(m.sum()) for m in moved.values()) <= sft.sft.num_params == 10
    for name, m in moved.items():
        chosen = torch.zeros(m.numel(), dtype=torch.bool)
        if name in sft.sft.entries:
            chosen[sft.sft.entries[name].indices] = True
        assert not (m.flatten() & ~chosen).any()


@pytest.mark.parametrize("every", [1, 3])
def test_the_end_of_each_phase_validates(every):
    """Also when the phase's last step lies between two validations, or its epoch has none."""
    validated = []

    class Watch(Callback):
        def on_validation_end(self, trainer, module):
            if not trainer.sanity_checking:
                validated.append(trainer.global_step)

    sft = callback(dense=Phase(max_steps=14), sparse=Phase(max_steps=23))
    trainer(sft, Watch(), check_val_every_n_epoch=every).fit(Plain(), data(), data(seed=2))
    assert 14 in validated
    assert validated[-1] == 14 + 23


def test_epochs_count_passes_and_steps_count_accumulation():
    """10 batches, 4 accumulated: 3 steps a pass, the last batches included."""
    run = trainer(
        callback(dense=Phase(max_epochs=2), sparse=Phase(max_epochs=1, min_steps=5)),
        accumulate_grad_batches=4,
    )
    run.fit(Plain(), data())
    assert run.global_step == 6 + 5


def test_a_stop_that_is_not_ours_ends_the_fit_without_a_fine_tuning():
    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step >= 4

    sft = callback()
    run = trainer(sft, Stop())
    with pytest.warns(UserWarning, match="stopped in the phase dense 4/12: no sparse fine-tuning"):
        run.fit(Plain(), data())
    assert run.global_step == 4
    assert sft.sft is None


def test_samplers_that_ask_are_told_phase_and_pass():
    told = []
    loader = data()
    loader.batch_sampler.set_pass = lambda phase, index: told.append((phase, index))
    trainer(callback(dense=Phase(max_epochs=2), sparse=Phase(max_epochs=2))).fit(Plain(), loader)
    assert list(dict.fromkeys(told)) == [
        ("dense", 0),
        ("dense", 1),
        ("sparse", 0),
        ("sparse", 1),
    ]


def test_the_selection_is_logged(caplog):
    with caplog.at_level("INFO"):
        trainer(callback(10)).fit(Plain(), data())
    assert "LargestChange: selecting 10 of 83 maskable entries." in caplog.text
    assert "Selected 10 entries: 12.05% of the maskable, 12.05% of the whole model;" in caplog.text


@pytest.mark.parametrize("loaders", [None, []], ids=["no loader", "an empty list"])
def test_without_validation_each_phase_ends_with_its_last_weights(loaders, caplog):
    """Also of a module that names a metric to be best by."""

    class Judged(Plain):
        monitor, monitor_mode = "val_loss", "min"

    by_hand, sft = Plain(), callback(10)
    trainer(callback(10)).fit(by_hand, data())
    module = Judged()
    with caplog.at_level("INFO"):
        trainer(sft).fit(module, data(), loaders)
    assert "each phase ends with its last weights" in caplog.text
    for name, value in values(by_hand).items():
        assert torch.equal(values(module)[name], value)
    assert {phase["best"] for phase in sft.sft.metadata.phases.values()} == {None}


class TestMistakes:
    """Each ends in one line, before the first step where that is possible."""

    def refused(self, message, callbacks, module=None, validation=True, **settings):
        run = trainer(*callbacks, **settings)
        with pytest.raises(LtsftError, match=message) as caught:
            run.fit(module or Plain(), data(), data(seed=2) if validation else None)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("max_epochs", 5), ("max_steps", 5), ("min_epochs", 2), ("min_steps", 2)],
    )
    def test_limits_of_the_trainer(self, name, value):
        self.refused(
            f"`trainer.{name}` is expected to be left out.*got {value}",
            [callback()],
            **{name: value},
        )

    def test_early_stopping(self):
        self.refused("without EarlyStopping.*patience", [callback(), EarlyStopping("val_loss")])

    def test_no_budget(self):
        self.refused("budget` is expected to be given, but is missing", [SparseMaskCallback()])

    def test_a_budget_where_none_is_needed(self):
        self.refused("left out with `Biases`", [callback(selection=Biases())])

    @pytest.mark.parametrize("selection", [LargestChange(), Biases(), AllEntries()])
    def test_nothing_to_choose_from(self, selection):
        sft = SparseMaskCallback(selection=selection, scope=ScopeRules(whole=["layers"]))
        self.refused(
            f"leave entries to choose from for `{type(selection).__name__}`, but 4 parameters are "
            "whole, 0 frozen and none is maskable; .*NoEntries",
            [sft],
        )

    def test_more_than_there_is(self):
        self.refused("at most the 83 maskable entries", [callback(84)])

    def test_a_pattern_that_matches_nothing(self):
        self.refused("'nope' matches none", [callback(scope=ScopeRules(frozen=["nope"]))])

    def test_a_metric_that_never_appears(self):
        """Found by the sanity check, before any training."""
        sft = callback(monitor="val_acc", mode="max")
        self.refused("'val_acc' is none of val_loss", [sft])

    def test_a_metric_without_validation(self):
        sft = callback(monitor="val_loss", mode="min")
        self.refused("never appears without one", [sft], validation=False)
        with pytest.raises(LtsftError, match="never appears without one"):
            trainer(sft).fit(Plain(), data(), [])

    def test_a_metric_without_a_mode(self):
        self.refused("`min` or `max` for the metric 'val_loss'", [callback(monitor="val_loss")])
        module = Plain()
        module.monitor = "val_loss"
        whose = r"'val_loss' \(the module's `monitor`\), but got None; set it, or"
        self.refused(whose, [callback()], module=module)

    def test_a_metric_that_is_always_nan(self):
        class Diverged(Plain):
            def validation_step(self, batch, batch_idx):
                self.log("val_loss", torch.tensor(torch.nan))

        self.refused(
            "`val_loss` is expected to be finite, but was nan after step 10",
            [callback(monitor="val_loss", mode="min")],
            module=Diverged(),
        )

    def test_diverged_weights_are_refused_by_name(self):
        class Diverging(Plain):
            def on_before_optimizer_step(self, optimizer):
                self.layers[0].weight.grad.fill_(torch.nan)

            def training_step(self, batch, batch_idx):
                return super().training_step(batch, batch_idx).nan_to_num()

        self.refused("scores of `layers.0.weight`", [callback()], Diverging(), validation=False)

    def test_parameters_outside_of_the_root(self):
        class Outside(Plain):
            @property
            def sft_root(self):
                return self.layers[0]

        self.refused("`layers.3.weight` is outside", [callback()], Outside())

    def test_only_epochs_for_data_without_a_length(self):
        loader = torch.utils.data.DataLoader(Endless(), batch_size=2)
        with pytest.raises(LtsftError, match="`max_steps` where the training data have no length"):
            trainer(callback(dense=Phase(max_epochs=1))).fit(Plain(), loader)
        run = trainer(callback())
        run.fit(Plain(), loader)
        assert run.global_step == 27

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({}, "have `max_steps` or `max_epochs`, but got neither"),
            ({"max_steps": 0}, "`max_steps` of a phase is expected to be 1 or more, but got 0"),
            ({"max_epochs": 0}, "`max_epochs` of a phase is expected to be 1 or more"),
            ({"max_steps": 1, "patience": 0}, "`patience` of a phase is expected to be 1 or more"),
            (
                {"max_steps": 60, "min_steps": 30000},
                "`max_steps` of a phase .* its `min_steps`, 30,000, or more, but got 60; set both",
            ),
            ({"max_steps": 1, "l1": -0.1}, "`l1` of a phase is expected to be 0 or more"),
        ],
    )
    def test_phases_without_a_length(self, settings, message):
        with pytest.raises(LtsftError, match=message):
            Phase(**settings)

    def test_resuming_with_another_budget_or_scope(self, tmp_path):
        run = trainer(callback(10))
        run.fit(Plain(), data())
        run.save_checkpoint(tmp_path / "a.ckpt")
        for other, message in (
            (callback(11), "has 10 entries and this one 11"),
            (callback(10, scope=ScopeRules(frozen=["layers.3"])), "`layers.3.bias` trains in one"),
        ):
            with pytest.raises(LtsftError, match=message):
                trainer(other).fit(Plain(), data(), ckpt_path=tmp_path / "a.ckpt")


class Endless(torch.utils.data.IterableDataset):
    """Data without a length."""

    def __iter__(self):
        while True:
            yield torch.ones(6), torch.ones(3)


def test_a_finished_run_resumes_to_its_result(tmp_path):
    first = callback(10)
    run = trainer(first)
    run.fit(Plain(), data())
    run.save_checkpoint(tmp_path / "end.ckpt")
    again = callback(10)
    resumed = trainer(again)
    resumed.fit(Plain(seed=5), data(), ckpt_path=tmp_path / "end.ckpt")
    assert again.sft == first.sft
    assert resumed.global_step == run.global_step


def test_the_same_callback_can_be_used_again():
    sft = callback(10)
    trainer(sft).fit(Plain(), data())
    first = sft.sft
    trainer(sft).fit(Plain(), data())
    assert sft.sft == first


def test_outside_a_fit_it_answers_for_itself(tmp_path):
    """Scoring, and saving what was scored, before any fit and after one."""
    sft, module = callback(10), Plain()
    assert sft.phase is None
    assert sft.ticket is None
    for fitted in (False, True):
        if fitted:
            trainer(sft).fit(module, data())
        run = trainer(sft)
        run.validate(module, data(seed=2), verbose=False)
        run.save_checkpoint(tmp_path / "scored.ckpt")
        run.validate(module, data(seed=2), ckpt_path=tmp_path / "scored.ckpt", verbose=False)
    assert sft.phase == "sparse"
    assert sft.ticket.mask.num_selected == 10


def test_phase_and_ticket_are_there_for_others():
    """For progress bars, loggers and callbacks of one's own."""
    seen = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, *_):
            selected = None if sft.ticket.mask is None else sft.ticket.mask.num_selected
            seen.append((sft.phase, selected, sft.position(trainer)))
            if sft.phase == "dense":
                assert all(torch.equal(sft.ticket.initial[name], before[name]) for name in before)

    sft, module = callback(10), Plain()
    before = values(module)
    trainer(sft, Watch()).fit(module, data())
    assert seen[0] == ("dense", None, "dense 0/12")
    assert seen[12] == ("sparse", 10, "sparse 0/15")
    assert len(seen) == 27
    for name, indices in sft.ticket.mask.indices().items():
        assert torch.equal(sft.ticket.initial_at(name), before[name].flatten()[indices])


def test_a_hold_is_passed_in():
    """One of one's own is told what to hold, phase by phase, and let go in the end."""
    calls = []

    class Noting(Masked):
        def attach(self, ticket, optimizers):
            calls.append(("attach", len(list(optimizers))))
            super().attach(ticket, optimizers)

        def detach(self):
            calls.append("detach")
            super().detach()

    plain, noting = callback(10), callback(10, hold=Noting())
    trainer(plain).fit(Plain(), data())
    trainer(noting).fit(Plain(), data())
    assert noting.sft == plain.sft
    assert calls.count(("attach", 1)) == 1
    assert calls[-1] == "detach"


def test_the_program_is_in_the_log(caplog):
    with caplog.at_level("INFO"):
        trainer(callback(10)).fit(Plain(), data())
    line = "Phases: dense, select by LargestChange, rewind by ToStart, sparse."
    assert line in caplog.text


def test_what_moves_is_in_the_log(caplog):
    """A head that is taken for maskable shows before hours of training."""
    scope = ScopeRules(whole=["layers.3"], frozen=["layers.0.bias"])
    with caplog.at_level("INFO"):
        trainer(callback(10, scope=scope)).fit(Plain(), data())
    assert (
        "Parameters that are maskable: 48 entries (layers.0.weight); whole: 27 (layers.3.weight, "
        "layers.3.bias); frozen: 8 (layers.0.bias)."
    ) in caplog.text


def test_selection_objects_are_all_there_is_to_a_criterion():
    """A criterion of one's own needs no change of the callback."""

    class Smallest(LargestChange):
        def select(self, candidates, num_params):
            from ltsft.sparse import select_largest

            return select_largest(
                {name: 1 / (1 + change) for name, change in candidates.changes()}, num_params
            )

    sft = callback(10, selection=Smallest())
    trainer(sft).fit(Plain(), data())
    assert sft.sft.metadata.selection == "Smallest"
