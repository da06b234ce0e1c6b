"""Selections that follow the dense phase, and a dense phase that ends by itself."""

from itertools import pairwise
from zlib import crc32

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.func import functional_call

from ltsft.callbacks import LanguageSfts, Phase, UntilSettled
from ltsft.errors import LtsftError
from ltsft.sparse import (
    ChangeTimesMagnitude,
    DiffPruning,
    FisherInformation,
    LargestChange,
    LowRankChange,
    Mask,
    Quota,
    Random,
    ScopeRules,
    SparseDelta,
    SparseFineTuning,
    hard_concrete,
)
from tests.callbacks.plain import Plain, callback, data, loader_of, trainer, values
from tests.callbacks.test_resume import SaveAt

L0 = 0.01


class Double(Plain):
    """Float64, no weight decay, a constant rate: as the loops below."""

    def __init__(self, seed=0):
        super().__init__(seed=seed)
        self.double()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.05, weight_decay=0.0)


def doubles(**settings):
    return data(dtype=torch.float64, **settings)


def first_of(scores, num_params):
    """Masks of the largest scores by a full stable sort."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[flat.argsort(descending=True, stable=True)[:num_params]] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {n: part.view(s.shape) for (n, s), part in zip(scores.items(), parts, strict=True)}


def dense_by_hand(module, batches, accumulate, shifts=None):
    """DiffPruning with w and α as tensors of their own; `shifts`: added to θ batch by batch.

    Returns:
        Losses, w, α.
    """
    initial = values(module)
    w = {name: torch.zeros_like(p).requires_grad_() for name, p in initial.items()}
    alpha = {name: torch.full_like(p, 5.0).requires_grad_() for name, p in initial.items()}
    optimizer = torch.optim.AdamW(w.values(), lr=0.05, weight_decay=0.0)
    alpha_optimizer = torch.optim.AdamW(alpha.values(), lr=0.1, weight_decay=0.0)
    losses = []
    for step in range(len(batches) // accumulate):
        generator = torch.Generator().manual_seed(crc32(f"0 {step}".encode()))
        theta = {}
        for name, start in initial.items():
            u = torch.rand(start.shape, generator=generator, dtype=torch.float64)
            u = u.clamp(1e-4, 0.9999)
            s = torch.sigmoid(torch.log(u) - torch.log(1 - u) + alpha[name])
            theta[name] = start + (s * 3 - 1.5).clamp(0, 1) * w[name]
        total = L0 * sum(torch.sigmoid(a).sum() for a in alpha.values())
        for number in range(accumulate):
            index = step * accumulate + number
            shifted = theta if shifts is None else {n: theta[n] + shifts[index][n] for n in theta}
            x, y = batches[index]
            loss = nn.functional.mse_loss(functional_call(module, shifted, (x,)), y)
            losses.append(loss.item())
            total = total + loss / accumulate
        total.backward()
        nn.utils.clip_grad_norm_(w.values(), 0.5)
        nn.utils.clip_grad_norm_(alpha.values(), 1.0)
        for one in (optimizer, alpha_optimizer):
            one.step()
            one.zero_grad()
    return losses, {n: v.detach() for n, v in w.items()}, {n: a.detach() for n, a in alpha.items()}


def sparse_by_hand(module, batches, masks, accumulate):
    """The sparse phase: gradients masked, unselected entries put back."""
    initial, losses = values(module), []
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.0)
    for index, batch in enumerate(batches):
        loss = nn.functional.mse_loss(module(batch[0]), batch[1])
        losses.append(loss.item())
        (loss / accumulate).backward()
        if (index + 1) % accumulate:
            continue
        for name, parameter in module.named_parameters():
            parameter.grad[~masks[name]] = 0
        nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        for name, parameter in module.named_parameters():
            parameter.data[~masks[name]] = initial[name][~masks[name]]
    return losses


class TestDiffPruning:
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_both_phases_equal_a_loop_written_by_hand(self, accumulate):
        """Float64; θ⁰ + w is one number here and two there, hence 1e-10."""
        by_hand = Double().layers
        batches = list(doubles()) * 2
        losses, w, alpha = dense_by_hand(by_hand, batches[: 8 * accumulate], accumulate)
        scores = {n: (hard_concrete.expectation(alpha[n]) * w[n]).abs() for n in w}
        masks = first_of(scores, 10)
        losses += sparse_by_hand(by_hand, batches[: 9 * accumulate], masks, accumulate)

        module = Double()
        sft = callback(10, Phase(max_steps=8), Phase(max_steps=9), selection=DiffPruning(l0=L0))
        run = trainer(sft, accumulate_grad_batches=accumulate, gradient_clip_val=0.5)
        run.fit(module, loader_of(batches))
        assert module.losses == pytest.approx(losses, abs=1e-10)
        for name, expected in values(by_hand).items():
            got = values(module)[f"layers.{name}"]
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
            chosen = masks[name].flatten().nonzero().flatten()
            if len(chosen):
                assert torch.equal(sft.sft.entries[f"layers.{name}"].indices, chosen)
        assert sft.sft.num_params == 10
        assert sft.sft.metadata.selection == "DiffPruning(l0=0.01)"

    def test_between_batches_the_weights_are_the_optimizers(self):
        """In the middle of an accumulated step, where a checkpoint may be, nothing has moved."""
        seen = []

        class Watch(Callback):
            def on_train_batch_end(self, trainer, module, *_):
                seen.append(values(module))

        sft = callback(10, Phase(max_steps=3), Phase(max_steps=1), selection=DiffPruning())
        trainer(sft, Watch(), accumulate_grad_batches=4).fit(Plain(), data(num=48))
        for index in (4, 5, 6, 8, 9, 10):
            for name, value in seen[3 if index < 8 else 7].items():
                assert torch.equal(seen[index][name], value)

    def test_a_fit_that_was_cut_short_leaves_nothing_behind(self):
        """The same objects, used again, give what fresh ones give; afterwards nothing is kept."""

        class Stop(Callback):
            def on_train_batch_end(self, trainer, module, *_):
                trainer.should_stop = trainer.global_step == 5

        for make in (lambda: DiffPruning(l0=L0), lambda: FisherInformation(at_start=False)):
            selection = make()
            sft, expected = callback(10, selection=selection), callback(10, selection=make())
            with pytest.warns(UserWarning, match="stopped in the phase dense"):
                trainer(sft, Stop()).fit(Plain(), data())
            trainer(sft).fit(Plain(), data())
            trainer(expected).fit(Plain(), data())
            assert sft.sft == expected.sft
            assert not selection.state_dict().get("alphas")
            assert not selection.state_dict().get("sums")

    def test_validations_see_the_mean_gates_and_their_best_is_ranked(self):
        """The second of three validations is scripted to be best."""
        seen, between = [], []

        class Watch(Double):
            def on_validation_epoch_end(self):
                if not self.trainer.sanity_checking:
                    seen.append(values(self))
                    self.log("score", [3.0, 1.0, 2.0, 1.0][len(seen) - 1])
                else:
                    self.log("score", 9.0)

            def on_train_batch_end(self, *_):
                alphas = selection.state_dict().get("alphas", {})
                means = {n: hard_concrete.expectation(a.clone()) for n, (a,) in alphas.items()}
                between.append((values(self), means))

        selection = DiffPruning(l0=0.05, alpha_start=1.0)
        module = Watch()
        initial = values(module)
        dense, sparse = Phase(max_epochs=3), Phase(max_epochs=1)
        sft = callback(10, dense, sparse, selection=selection, monitor="score", mode="min")
        trainer(sft).fit(module, doubles(), doubles(seed=2))
        for epoch in range(3):
            trained, means = between[10 * epoch + 9]
            for name, value in trained.items():
                expected = initial[name] + means[name] * (value - initial[name])
                torch.testing.assert_close(seen[epoch][name], expected, rtol=0, atol=1e-15)
                assert not torch.equal(seen[epoch][name], value)
        masks = first_of({n: (seen[1][n] - initial[n]).abs() for n in initial}, 10)
        for name, mask in masks.items():
            chosen = mask.flatten().nonzero().flatten()
            if len(chosen):
                assert torch.equal(sft.sft.entries[name].indices, chosen)

    def test_a_source_languages_difference_lies_on_top_of_the_gates(self, tmp_path):
        """Many sources: θ⁰ + z ⊙ w + φ_source; the gates are no gates of φ."""
        module = Double()
        shape = tuple(module.layers[0].weight.shape)
        delta = SparseDelta(shape, torch.arange(0, 48, 3), torch.full((16,), 0.7).double())
        SparseFineTuning({"layers.0.weight": delta}).save_pretrained(tmp_path / "aa")
        batches = list(doubles())[:8]
        none = {name: torch.zeros_like(p) for name, p in Double().layers.named_parameters()}
        shift = none | {"0.weight": delta.dense()}
        shifts = [shift if index % 2 else none for index in range(8)]
        losses, w, _ = dense_by_hand(Double().layers, batches, 2, shifts)

        class Sources(Double):
            def loss(self, batch):
                return super().loss((batch["x"], batch["y"]))

        class Keep(Callback):
            def on_train_batch_end(self, trainer, module, *_):
                if trainer.global_step == 4 and not hasattr(self, "trained"):
                    self.trained = values(module)

        module, keep = Sources(), Keep()
        initial = values(module)
        items = [
            {"x": x, "y": y, "language": "aa" if index % 2 else "bb"}
            for index, (x, y) in enumerate(batches)
        ]
        sft = callback(10, Phase(max_steps=4), Phase(max_steps=1), selection=DiffPruning(l0=L0))
        run = trainer(
            sft,
            LanguageSfts({"aa": str(tmp_path / "aa")}),
            keep,
            accumulate_grad_batches=2,
            gradient_clip_val=0.5,
        )
        run.fit(module, loader_of(items))
        assert module.losses[:8] == pytest.approx(losses, abs=1e-10)
        for name, expected in w.items():
            got = keep.trained[f"layers.{name}"] - initial[f"layers.{name}"]
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_fisher_information_is_gathered_at_the_start():
    """With batches of one, the mean of squared per-example gradients at θ⁰, in one pass."""
    module = Double()
    by_hand, initial = Double(), values(module)
    sums = {name: torch.zeros_like(p) for name, p in initial.items()}
    for batch in doubles(batch_size=1):
        gradients = torch.autograd.grad(by_hand.loss(batch), list(by_hand.parameters()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient**2
    masks = first_of(sums, 10)
    sft = callback(10, Phase(max_epochs=1), Phase(max_steps=3), selection=FisherInformation())
    trainer(sft, gradient_clip_val=1e-3).fit(module, doubles(batch_size=1))
    for name, mask in masks.items():
        chosen = mask.flatten().nonzero().flatten()
        if len(chosen):
            assert torch.equal(sft.sft.entries[name].indices, chosen)
    assert sft.sft.metadata.selection == "FisherInformation(most)"


@pytest.mark.parametrize(
    "selection",
    [
        DiffPruning(l0=L0, structured=True),
        FisherInformation(at_start=False),
        FisherInformation("least"),
        LowRankChange(),
        ChangeTimesMagnitude(),
        Quota(DiffPruning(l0=L0)),
    ],
    ids=str,
)
def test_resuming_is_bit_identical(tmp_path, selection):
    """From any epoch of either phase, the boundary included; the same object is used again."""

    def fit(ckpt_path=None, extra=()):
        module = Plain(dropout=0.3, seed=0 if ckpt_path is None else 99)
        torch.manual_seed(5)
        sft = callback(
            dense=Phase(max_steps=25, l1=0.1),
            sparse=Phase(max_epochs=1),
            selection=selection,
            until_settled=UntilSettled(overlap=1.0, patience=9),
            monitor="val_loss",
            mode="min",
        )
        trainer(sft, *extra).fit(module, data(shuffle=True), data(seed=2), ckpt_path=ckpt_path)
        return module, sft.sft

    module, expected = fit(extra=[SaveAt(tmp_path, "on_validation_end")])
    steps = sorted(int(path.stem) for path in tmp_path.glob("*.ckpt"))
    assert steps == [10, 20, 25, 35]
    for step in steps:
        resumed, sft = fit(ckpt_path=tmp_path / f"{step}.ckpt")
        assert sft == expected, f"resumed at step {step}"
        for name, value in values(module).items():
            assert torch.equal(values(resumed)[name], value), (step, name)


class Scripted(LargestChange):
    """Would choose, at each call, the next of some sets of positions of the first weight."""

    def __init__(self, *sets):
        self.sets = iter(sets)

    def select(self, candidates, num_params):
        chosen = next(self.sets)
        mask = {n: torch.zeros_like(p, dtype=torch.bool) for n, p in candidates.parameters()}
        mask["layers.0.weight"].view(-1)[list(chosen)] = True
        return Mask(mask)


class TestUntilSettled:
    def settings(self, **more):
        return {
            "dense": Phase(max_epochs=50),
            "sparse": Phase(max_steps=5),
            "until_settled": UntilSettled(overlap=0.75, patience=2),
            **more,
        }

    def test_the_dense_phase_ends_after_enough_overlaps_in_a_row(self, tmp_path, caplog):
        """Overlaps 3/4, 2/4, 3/4, 3/4: after the fifth validation, and what is chosen then counts.

        The sanity check before training is not one of them.
        """
        sets = [{0, 1, 2, 3}, {0, 1, 2, 4}, {0, 1, 5, 6}, {0, 1, 5, 7}, {0, 1, 9, 7}, {9, 1, 5, 7}]
        sft = callback(4, selection=Scripted(*sets), **self.settings())
        run = trainer(sft, logger=CSVLogger(tmp_path, name="", version=""))
        with caplog.at_level("INFO"):
            run.fit(Plain(), data(), data(seed=2))
        assert run.global_step == 50 + 5
        assert sft.sft.entries["layers.0.weight"].indices.tolist() == [1, 5, 7, 9]
        assert [p["steps"] for p in sft.sft.metadata.phases.values()] == [50, 5]
        said = [line for line in caplog.text.splitlines() if "those of the best weights" in line]
        assert ["75.00%" in line for line in said] == [True, False, True, True]
        assert "dense 20/500 75.00% of the entries" in said[0]
        rows = (tmp_path / "metrics.csv").read_text().splitlines()
        column = rows[0].split(",").index("selection_overlap")
        assert [row.split(",")[column] for row in rows[1:] if row.split(",")[column]] == [
            "0.75", "0.5", "0.75", "0.75",
        ]  # fmt: skip

    def test_without_a_metric_it_ends_too(self):
        sets = [{0, 1, 2, 3}] * 4
        sft = callback(4, selection=Scripted(*sets), **self.settings())
        module = Plain()
        run = trainer(sft)
        run.fit(module, data(), data(seed=2))
        assert run.global_step == 30 + 5

    def test_only_sets_of_weights_that_would_be_selected_from_count(self):
        """From the third validation on the metric rises: the set of the second is what counts.

        The sets seen later agree with each other, but not with the one that is chosen in the end.
        """

        class Overfits(Plain):
            def validation_step(self, batch, batch_idx):
                epoch = self.trainer.current_epoch
                self.log("val_loss", float(10 - epoch if epoch < 2 else 20 + epoch))

        sets = [{0, 1, 2, 3}, {0, 1, 2, 4}, {0, 1, 2, 4}]  # at two best weights, and in the end
        settings = self.settings(dense=Phase(max_epochs=6))
        sft = callback(4, selection=Scripted(*sets), monitor="val_loss", mode="min", **settings)
        run = trainer(sft)
        run.fit(Overfits(), data(), data(seed=2))
        assert run.global_step == 6 * 10 + 5
        assert sft.sft.entries["layers.0.weight"].indices.tolist() == [0, 1, 2, 4]

    @pytest.mark.parametrize("wrap", [lambda selection: selection, Quota])
    def test_a_set_that_goes_by_gradients_settles_whatever_the_metric(self, wrap):
        """The sums of gradients grow at each step; they do not go by the best weights."""

        class Worse(Plain):
            def validation_step(self, batch, batch_idx):
                self.log("val_loss", float(self.trainer.global_step))

        sft = callback(
            4,
            selection=wrap(FisherInformation()),
            monitor="val_loss",
            mode="min",
            **self.settings(until_settled=UntilSettled(overlap=1.0, patience=2)),
        )
        run = trainer(sft)
        run.fit(Worse(), data(), data(seed=2))
        assert run.global_step < 20 * 10

    def test_a_run_that_was_stopped_goes_on_counting(self, tmp_path):
        sets = [{0, 1, 2, 3}] * 4
        sft = callback(4, selection=Scripted(*sets), **self.settings())
        trainer(sft, SaveAt(tmp_path, "on_train_epoch_end")).fit(Plain(), data(), data(seed=2))
        again = callback(4, selection=Scripted(*sets[2:]), **self.settings())
        run = trainer(again)
        run.fit(Plain(seed=7), data(), data(seed=2), ckpt_path=tmp_path / "20.ckpt")
        assert run.global_step == 30 + 5
        assert again.sft == sft.sft
        assert again.sft.metadata.phases == sft.sft.metadata.phases

    def test_a_rate_that_falls_to_zero_settles_the_set(self):
        """With the phase's own selection and weights; the object can be used again."""
        settings = self.settings(
            dense=Phase(max_epochs=200), until_settled=UntilSettled(overlap=1.0, patience=3)
        )
        sft = callback(10, **settings)
        for _ in range(2):
            run = trainer(sft)
            run.fit(Plain(), data(), data(seed=2))
            assert 40 <= run.global_step < 2000

    def test_with_a_selection_without_a_dense_phase_it_is_refused(self):
        sft = callback(4, selection=Random(), **self.settings())
        with pytest.raises(LtsftError, match="left out with `Random`, which has no dense phase"):
            trainer(sft).fit(Plain(), data(), data(seed=2))

    def test_without_validations_it_is_refused(self):
        sft = callback(4, **self.settings())
        for nothing in (None, []):
            with pytest.raises(LtsftError, match="expected beside validations, .* there are none"):
                trainer(sft).fit(Plain(), data(), nothing)


def test_scoring_alone_places_nothing():
    """`validate` is no dense phase: before a fit, and after one that was stopped in its dense."""
    placed = []

    class Noting(DiffPruning):
        def place(self, candidates, training):
            placed.append(training)
            super().place(candidates, training)

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 5

    module, sft = Plain(), callback(10, selection=Noting())
    for fitted in (False, True):
        if fitted:
            with pytest.warns(match="Training stopped in the phase dense"):
                trainer(sft, Stop()).fit(module, data(), data(seed=2))
            assert placed
        placed.clear()
        before = values(module)
        trainer(sft).validate(module, data(seed=2), verbose=False)
        assert placed == []
        assert all(torch.equal(p, before[n]) for n, p in module.named_parameters())


class SeesScale(Callback):
    """Notes the scaler's scale after each batch; it falls where a step was skipped."""

    def __init__(self, sft):
        self.sft, self.dense = sft, []

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step <= self.sft.dense.max_steps:
            self.dense.append(trainer.precision_plugin.scaler.get_scale())

    def taken(self, start):
        return [now >= before for before, now in pairwise([start, *self.dense])]


def overflowing(start=2.0**24):
    """A scale at which the first steps' float16 gradients are infinite."""
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=start))


@pytest.mark.parametrize("at_start", [True, False])
def test_fisher_information_leaves_out_the_steps_that_a_scaler_skips(at_start):
    """The sums are those of the unscaled gradients of the steps that moved the weights."""
    seen = []

    class Noting(FisherInformation):
        def observe(self, candidates):
            seen.append({n: p.grad.clone() for n, p in candidates.parameters()})
            super().observe(candidates)

        def select(self, candidates, num_params):
            self.scores = dict(self.most(candidates))
            return super().select(candidates, num_params)

    selection = Noting(at_start=at_start)
    sft = callback(10, selection=selection, dense=Phase(max_steps=20))
    scale = SeesScale(sft)
    trainer(sft, scale, plugins=overflowing()).fit(Plain(), data())
    taken = scale.taken(2.0**24)
    assert 0 < sum(taken) < len(taken) == len(seen) == 20
    finite = [step for step, was in zip(seen, taken, strict=True) if was]
    for name, score in selection.scores.items():
        expected = sum(step[name].square() for step in finite) / len(finite)
        torch.testing.assert_close(score, expected)
    assert sft.sft.num_params == 10


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("alpha_clip_norm", [1.0, None])
def test_gates_stay_where_a_scaler_skips_a_step(structured, alpha_clip_norm):
    """And move, finite, where it takes one."""
    selection = DiffPruning(l0=L0, structured=structured, alpha_clip_norm=alpha_clip_norm)
    sft = callback(10, selection=selection, dense=Phase(max_steps=20))
    alphas = []

    class Alphas(Callback):
        def on_train_batch_end(self, *_):
            if state := selection.state_dict():
                both = [alpha for tensor in state["alphas"].values() for alpha in tensor]
                alphas.append(torch.cat([alpha.flatten() for alpha in both]).clone())

    scale = SeesScale(sft)
    trainer(sft, scale, Alphas(), plugins=overflowing()).fit(Plain(), data())
    taken = scale.taken(2.0**24)
    assert 0 < sum(taken) < len(taken) == len(alphas) == 20
    before = [torch.full_like(alphas[0], selection.alpha_start), *alphas]
    moved = [not torch.equal(*pair) for pair in pairwise(before)]
    assert moved == taken
    assert all(bool(torch.isfinite(alpha).all()) for alpha in alphas)
    assert sft.sft.num_params == 10


@pytest.mark.parametrize("selection", [DiffPruning(l0=L0), FisherInformation()], ids=str)
def test_weights_of_the_selection_go_under_those_of_a_language(selection, tmp_path):
    """The other order would gate, or lose, the language's part; it is refused before training."""
    languages = LanguageSfts({})
    sft = callback(10, selection=selection)
    with pytest.raises(LtsftError, match="`SparseMaskCallback` before `LanguageSfts`"):
        trainer(languages, sft).fit(Plain(), data())
    trainer(callback(10), languages).fit(Plain(), data())
    for places_nothing in (LargestChange(), Quota(LargestChange())):  # any order will do
        trainer(languages, callback(10, selection=places_nothing)).fit(Plain(), data())


def test_heads_have_no_gates():
    module = Double()
    selection = DiffPruning(l0=L0)
    sft = callback(6, selection=selection, scope=ScopeRules(whole=["layers.3"]))

    class Names(Callback):
        def on_train_batch_end(self, *_):
            if selection.state_dict():
                self.gated = set(selection.state_dict()["alphas"])

    names = Names()
    trainer(sft, names).fit(module, doubles())
    assert names.gated == {"layers.0.weight", "layers.0.bias"}
    assert set(sft.sft.whole) == {"layers.3.weight", "layers.3.bias"}
