"""Users' modules, built late, compiled or odd: the same fine-tuning, or one true line."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from ltsft.callbacks import Phase
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Compact,
    Growing,
    LargestChange,
    Mask,
    Masked,
    ScopeRules,
    Selection,
    select_largest,
)
from tests.callbacks.plain import Plain, callback, data, trainer, values


def fit(module, loaders=None, strategy="auto", **settings):
    sft = callback(scope=ScopeRules(whole=["layers.3.bias"]), **settings)
    trainer(sft, strategy=strategy, devices=1).fit(module, data(), loaders or data(seed=2))
    return sft.sft


class Late(Plain):
    """Has no layer before it is asked to build them, once or each time."""

    def __init__(self):
        super().__init__()
        del self.layers

    def build(self):
        if not hasattr(self, "layers"):
            self.layers = Plain().layers


class InConfigureModel(Late):
    def configure_model(self):
        self.build()


class InSetup(Late):
    def setup(self, stage):
        self.build()


@pytest.mark.parametrize("late", [InConfigureModel, InSetup])
def test_layers_may_be_built_late(late):
    """Judged by the same module with its layers from the beginning."""
    module = late()
    sft = fit(module)
    assert sft == fit(Plain())
    assert sft.entries
    assert "configure_model" not in vars(module)


@pytest.mark.parametrize("late", [InConfigureModel, InSetup])
def test_late_layers_resume(late, tmp_path):
    """The checkpoint is loaded into what was built; from both phases."""
    settings = {"dense": Phase(max_epochs=2), "sparse": Phase(max_epochs=2)}
    each_epoch = ModelCheckpoint(dirpath=tmp_path, save_top_k=-1)
    whole = callback(**settings)
    trainer(whole, each_epoch, enable_checkpointing=True).fit(late(), data())
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) == 4
    for path in checkpoints:
        again = callback(**settings)
        trainer(again).fit(late(), data(), ckpt_path=path)
        assert again.sft == whole.sft


@pytest.mark.parametrize("what", ["layers", "module"])
def test_compiled_modules_have_the_names_of_plain_ones(what):
    """`torch.compile` puts `_orig_mod` into names; a fine-tuning goes by the names without."""
    module = Plain()
    if what == "layers":
        module.layers = torch.compile(module.layers, backend="eager")
        sft = fit(module)
    else:
        sft = fit(torch.compile(module, backend="eager"))
    assert sft == fit(Plain())
    assert sft.whole.keys() == {"layers.3.bias"}


def test_a_fine_tuning_is_applied_to_a_compiled_model_and_taken_off():
    sft = fit(Plain())
    plain, compiled = Plain(), Plain()
    compiled.layers = torch.compile(compiled.layers, backend="eager")
    before = values(compiled)
    with sft.apply(plain), sft.apply(compiled):
        for (_, here), there in zip(compiled.named_parameters(), plain.parameters(), strict=True):
            assert torch.equal(here, there)
    assert all(torch.equal(value, before[name]) for name, value in values(compiled).items())


@pytest.mark.parametrize("embedding", [nn.Embedding, nn.EmbeddingBag])
def test_sparse_gradients_are_refused(embedding):
    module = Plain()
    module.words = embedding(5, 2, sparse=True)
    with pytest.raises(LtsftError, match=r"`sparse` of the embedding `words` is expected to be Fa"):
        fit(module)


class TwoLoaders(Plain):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)


def test_a_metric_of_one_of_several_loaders_chooses_the_weights():
    """In the sanity check there is none of that name yet."""
    loaders = [data(seed=2), data(seed=3)]
    sft = fit(TwoLoaders(), loaders, monitor="val_loss/dataloader_idx_0", mode="min")
    of_the_first = fit(Plain(), data(seed=2), monitor="val_loss", mode="min")
    assert sft == of_the_first
    assert sft.metadata.phases["dense"]["monitor"] == "val_loss/dataloader_idx_0"


class Unused(Plain):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)


def test_unused_parameters_under_ddp():
    """One line that names the strategy, with which the fit works."""
    try:
        with pytest.raises(LtsftError, match=r"`ddp_find_unused_parameters_true`.*`unused.weight`"):
            fit(Unused(), strategy="ddp")
        sft = fit(Unused(), strategy="ddp_find_unused_parameters_true")
        assert sft.num_params == 10
        assert not any(name.startswith("unused") for name in sft.entries)
        assert fit(Unused(), strategy=DDPStrategy(find_unused_parameters=True)) == sft
    finally:
        torch.distributed.destroy_process_group()


class _StepsByHand(Plain):
    """Optimizes by hand, past Lightning's count of steps."""

    def __init__(self, way):
        super().__init__()
        self.automatic_optimization = False
        self.way = way

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        if self.way == "the optimizer inside":
            optimizer.optimizer.step()
        else:
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter -= 0.1 * parameter.grad

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("way", ["the optimizer inside", "weights"])
def test_steps_that_nobody_counts_are_refused(way):
    """They would make an endless fit."""
    with pytest.raises(LtsftError, match="weights moved in a pass .* no step was counted"):
        trainer(callback()).fit(_StepsByHand(way), data())


class Looks(Callback):
    """Looks at gradients, as somebody's logging of their norms does."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        pass


class Clips(Plain):
    def configure_gradient_clipping(self, optimizer, **_):
        torch.nn.utils.clip_grad_norm_(self.parameters(), 1e-3)


class ByHand(Plain):
    """Clips by torch, as loops written by hand do."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        torch.nn.utils.clip_grad_norm_(self.parameters(), 1e-3)
        optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize(
    ("module", "others", "name"),
    [
        (Plain, [], "Compact"),
        (Plain, [Looks()], "Masked"),
        (Clips, [], "Masked"),
        (ByHand, [], "Masked"),
    ],
)
def test_gradients_are_there_for_those_who_look_at_them(module, others, name):
    sft = callback(10, Phase(max_steps=2), Phase(max_steps=2))
    trainer(sft, *others).fit(module(), data())
    assert sft.fit.settings["options"]["hold"] == name


def test_clipping_by_hand_counts_in_the_sparse_phase():
    """Each step of SGD at a rate of 1 is as long as the clipped gradient at most."""
    sft, module = callback(10, Phase(max_steps=2), Phase(max_steps=5)), ByHand()
    trainer(sft).fit(module, data())
    moved = torch.cat([delta.values for delta in sft.sft.entries.values()])
    assert 0 < moved.norm() <= 5 * 1e-3 * 1.001


class TooMany(LargestChange):
    def select(self, candidates, num_params):
        return super().select(candidates, num_params + 1)


class Nothing(LargestChange):
    def select(self, candidates, num_params):
        return None


class Others(LargestChange):
    def select(self, candidates, num_params):
        return Mask({"a": torch.ones(num_params, dtype=torch.bool)})


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (TooMany(), "exactly 10 entries, but selected 11"),
        (Nothing(), "`Nothing.select` is expected to return a `Mask`, but returned None"),
        (Others(), "a mask over the 4 maskable parameters"),
    ],
)
def test_a_selection_of_ones_own_that_is_wrong(selection, message):
    sft = callback(10, Phase(max_steps=2), Phase(max_steps=2), selection=selection)
    with pytest.raises(LtsftError, match=message):
        trainer(sft).fit(Plain(), data())


def test_a_selection_of_ones_own_has_one_method():
    class Last(Selection):
        def select(self, candidates, num_params):
            scores = {
                name: torch.arange(p.numel()).view_as(p) for name, p in candidates.parameters()
            }
            return Mask(select_largest(scores, num_params))

    sft = callback(10, Phase(max_steps=2), Phase(max_steps=2), selection=Last())
    trainer(sft).fit(Plain(), data())
    assert sft.sft.num_params == 10
    with pytest.raises(LtsftError, match="`Typo.looks_at` is expected to be `nothing`, `weights`"):
        type("Typo", (Selection,), {"looks_at": "wieghts"})


def test_a_checkpoint_of_something_else(tmp_path):
    """Its weights would be taken for θ⁰, and its steps for those of the dense phase."""
    plain = trainer(max_steps=3)
    plain.fit(Plain(), data())
    plain.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(LtsftError, match=r"x.ckpt has no state of one; load its weights"):
        trainer(callback()).fit(Plain(), data(), ckpt_path=tmp_path / "x.ckpt")


class Unfreezes(Callback):
    """A part is frozen at the start and trains from the second pass on."""

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            module.layers[0].requires_grad_(True)


@pytest.mark.parametrize("hold", [Compact(), Masked()])
def test_what_was_frozen_and_moved_is_noticed(hold):
    """It would not be in the fine-tuning."""
    module = Plain()
    module.layers[0].requires_grad_(False)
    sft = callback(5, Phase(max_epochs=2), Phase(max_epochs=2), hold=hold)
    with pytest.raises(LtsftError, match=r"they moved in layers.0.weight, layers.0.bias"):
        trainer(sft, Unfreezes()).fit(module, data())


class KeepsSchedule(Plain):
    """Makes its optimizer and schedule once, and returns them each time it is asked."""

    def configure_optimizers(self):
        if not hasattr(self, "kept"):
            self.kept = self.make()
        return self.kept

    def make(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class MakesSchedule(KeepsSchedule):
    def configure_optimizers(self):
        return self.make()


def test_a_schedule_that_a_module_keeps_starts_afresh():
    """As one that is made anew for each phase; with a spent one nothing would move."""
    sfts = []
    for module in (KeepsSchedule(), MakesSchedule()):
        sft = callback(10, Phase(max_steps=12), Phase(max_steps=6))
        trainer(sft).fit(module, data())
        sfts.append(sft.sft)
    assert sfts[0] == sfts[1]


class OnPlateau(Plain):
    """Its schedule looks at the metric in the middle of a pass, before any validation of it."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        config = {"scheduler": self.schedule, "interval": "step", "frequency": 2}
        config |= {"monitor": "val_loss", "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def on_train_batch_end(self, *_):
        self.bests = [*getattr(self, "bests", []), self.schedule.best]


def test_no_metric_of_one_phase_counts_in_the_next():
    module = OnPlateau()
    sft = callback(10, Phase(max_steps=8), Phase(max_steps=8))
    trainer(sft, val_check_interval=4).fit(module, data(num=32), data(seed=2))
    dense, sparse = module.bests[:8], module.bests[8:]
    assert dense[-1] < float("inf")
    assert sparse[2] == dense[2] == float("inf")
    assert sparse[-1] < float("inf")


def test_the_best_checkpoint_is_one_of_the_sparse_phase(tmp_path):
    """Where every entry that is not selected is as at the start."""
    saver = ModelCheckpoint(tmp_path, monitor="val_loss", filename="{step}")
    module, sft = Plain(), callback(3, Phase(max_steps=60), Phase(max_steps=10), monitor="val_loss")
    before = values(module)
    sft.mode = "min"
    trainer(sft, saver, enable_checkpointing=True).fit(module, data(), data(seed=2))
    state = torch.load(saver.best_model_path)["state_dict"]
    moved = sum(int((state[name] != value).sum()) for name, value in before.items())
    assert 0 < moved <= 3


def test_more_rounds_than_entries_are_refused():
    sft = callback(3, Phase(max_steps=2), Phase(max_steps=2), rounds=Growing(4))
    with pytest.raises(LtsftError, match="got 4 rounds for 3 of 83 entries; take fewer"):
        trainer(sft).fit(Plain(), data())


def test_nothing_to_train_on_is_told():
    sft = callback()
    with pytest.raises(LtsftError, match="expected to have a batch, but there is none to train on"):
        trainer(sft, limit_train_batches=0).fit(Plain(), data())
    assert sft.sft is None


def test_nothing_is_told_where_a_fine_tuning_was_made(recwarn):
    sft = callback()
    trainer(sft).fit(Plain(), data())
    assert sft.sft is not None
    assert not [w for w in recwarn if "No sparse fine-tuning" in str(w.message)]
