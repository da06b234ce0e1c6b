"""A run that was stopped and resumed ends bit-identically to the one that was not."""

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ltsft.callbacks import Phase
from tests.callbacks.plain import Plain, callback, data, trainer


class SaveAt(Callback):
    """Writes a checkpoint each time a hook is called, or after certain steps only."""

    def __init__(self, folder, hook, steps=()):
        self.folder = folder
        self.steps = steps
        setattr(self, hook, self._save)

    def _save(self, trainer, *_):
        if not trainer.sanity_checking and (not self.steps or trainer.global_step in self.steps):
            trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def fit(ckpt_path=None, extra=(), shuffle=True, **settings):
    module = Plain(dropout=0.3, batch_norm=True, seed=0 if ckpt_path is None else 99)
    sft = callback(
        dense=Phase(max_steps=25, l1=0.1),
        sparse=Phase(max_epochs=3, l1=0.1),
        monitor="val_loss",
        mode="min",
    )
    torch.manual_seed(5 if ckpt_path is None else 77)
    run = trainer(sft, *extra, **settings)
    run.fit(module, data(shuffle=shuffle), data(seed=2), ckpt_path=ckpt_path)
    return module, sft.sft


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end", "on_train_batch_end"])
def test_resuming_from_any_epoch_is_bit_identical(tmp_path, hook):
    """10 batches an epoch; dense: 25 steps, so its last pass is cut in half; sparse: 30 steps.

    Both the last checkpoint of the dense phase (step 25: exactly at the boundary) and those at
    whole epochs of either phase are resumed, with dropout, shuffling, buffers and an L1 term.
    Those written after the last batch of a phase come before its last validation.
    """
    ends = [10, 20, 25, 35, 45, 55]
    module, expected = fit(extra=[SaveAt(tmp_path, hook, ends)])
    steps = sorted(int(path.stem) for path in tmp_path.glob("*.ckpt"))
    assert steps == ends
    for step in steps:
        resumed, sft = fit(ckpt_path=tmp_path / f"{step}.ckpt")
        assert sft == expected, f"resumed at step {step}"
        for name, value in module.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], value), (step, name)


def test_model_checkpoint_files_resume(tmp_path):
    """Lightning's own ModelCheckpoint, at its default moment, writes resumable files."""
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{step}")
    module, expected = fit(extra=[saver], enable_checkpointing=True)
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == 6
    for path in paths:
        assert fit(ckpt_path=path)[1] == expected, path.name


def test_patience_that_runs_out_at_the_end_of_a_phase(tmp_path):
    """Written after the phase's last batch, before the validation at which patience runs out.

    On resuming, that validation comes first; it ends the phase, which is over, not the fit.
    """

    class Worse(Plain):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", float(self.trainer.global_step))

    def fit(ckpt_path=None, *extra):
        sft = callback(
            dense=Phase(max_steps=25, patience=2), sparse=Phase(max_steps=10),
            monitor="val_loss", mode="min",
        )  # fmt: skip
        run = trainer(sft, *extra, num_sanity_val_steps=0)
        run.fit(Worse(), data(), data(seed=2), ckpt_path=ckpt_path)
        return run.global_step, sft.sft

    steps, expected = fit(None, SaveAt(tmp_path, "on_train_batch_end", [25]))
    assert steps == 35
    resumed, sft = fit(tmp_path / "25.ckpt")
    assert resumed == steps
    assert sft == expected


def test_a_second_fit_on_one_trainer_is_as_long_as_the_first():
    """A cell of a notebook run twice, a loop over languages: the Trainer's counts go on."""
    sft = callback(10, Phase(max_steps=6), Phase(max_epochs=1))
    run = trainer(sft)
    first, second = Plain(), Plain()
    run.fit(first, data())
    expected, steps = sft.sft, run.global_step
    run.fit(second, data())
    assert steps == 16
    assert run.global_step == 2 * steps
    assert sft.sft == expected
    assert sft.sft.metadata.phases == expected.metadata.phases
    assert {name: phase["steps"] for name, phase in expected.metadata.phases.items()} == {
        "dense": 6,
        "sparse": 10,
    }


class WithOptions(Plain):
    """Keeps an option in its checkpoints."""

    def __init__(self, rate=0.05):
        super().__init__()
        self.save_hyperparameters()


def resume(path, rate=0.05, dense=6, num_params=10):
    sft = callback(num_params, Phase(max_steps=dense), Phase(max_steps=4))
    trainer(sft, SaveAt(path.parent, "on_train_batch_end", [3])).fit(
        WithOptions(rate), data(), ckpt_path=path if path.exists() else None
    )


def test_what_is_another_on_resuming_is_told(tmp_path):
    """Lightning goes on with the checkpoint's optimizer, whatever the options are now."""
    path = tmp_path / "3.ckpt"
    resume(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The checkpoint is of a fit")
        resume(path)
    with pytest.warns(match=r"with other options: rate was 0.05 and is 0.1; optimizers go on"):
        resume(path, rate=0.1)
    with pytest.warns(match=r"a fit that was another: Optimizer steps: dense 6, sparse 4"):
        resume(path, dense=7)


class Resumable:
    """A loader that goes on in the middle of a pass; each batch is one of its pass and place."""

    def __init__(self):
        self.place = self.number = 0
        self.seen = []

    def __len__(self):
        return 8

    def __iter__(self):
        if self.place == len(self):  # nobody asks for more than there is
            self.place = 0
            self.number += 1
        for place in range(self.place, len(self)):
            self.place = place + 1
            self.seen.append((self.number, place))
            generator = torch.Generator().manual_seed(100 * self.number + place)
            yield [torch.randn(4, size, generator=generator) for size in (6, 3)]

    def state_dict(self):
        return {"place": self.place, "number": self.number}

    def load_state_dict(self, state):
        self.place, self.number = state["place"], state["number"]


@pytest.mark.parametrize("phase", [Phase(max_epochs=2), Phase(max_steps=16)])
def test_a_loader_that_can_be_resumed_goes_on_in_the_middle_of_a_pass(tmp_path, phase):
    """Whether phases are counted in passes, for which data are set up early, or in steps."""

    def fit(ckpt_path=None, *extra):
        loader, sft, module = Resumable(), callback(10, phase, phase), Plain(dropout=0.3)
        torch.manual_seed(5)
        trainer(sft, *extra).fit(module, loader, ckpt_path=ckpt_path)
        return sft.sft, loader.seen

    expected, seen = fit(None, SaveAt(tmp_path, "on_train_batch_end", [3, 13, 21]))
    for step in (3, 13, 21):
        resumed, rest = fit(tmp_path / f"{step}.ckpt")
        assert resumed == expected, step
        assert rest == seen[-len(rest) :]
        assert len(rest) == 32 - step
