"""The newest checkpoint, by the clock: there is one, and it goes on to the bit."""

import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from ltsft.callbacks import TimedCheckpoint
from ltsft.callbacks.newest import remove_newest
from ltsft.sparse import Masked
from tests.callbacks.plain import Plain, callback, trainer
from tests.callbacks.test_resume import Resumable


class Copy(Callback):
    """Keeps what is in a folder after each batch, and how much that is."""

    def __init__(self, source, target):
        self.source, self.target, self.numbers = Path(source), Path(target), []
        self.target.mkdir()

    def on_train_batch_start(self, trainer, *_):
        paths = list(self.source.glob("*.ckpt"))
        self.numbers.append(len(paths))
        for path in paths:
            shutil.copy(path, self.target)


class ByHand(Plain):
    """Two batches a step."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        (self.loss(batch) / 2).backward()
        if batch_idx % 2:
            self.optimizers().step()
            self.optimizers().zero_grad()


def fit(ckpt_path=None, *extra, kind=Plain, **settings):
    sft, module = callback(hold=Masked()), kind(dropout=0.3)
    torch.manual_seed(5 if ckpt_path is None else 7)
    run = trainer(sft, *extra, enable_checkpointing=bool(extra), default_root_dir="out", **settings)
    run.fit(module, Resumable(), ckpt_path=ckpt_path)
    return sft.sft, run.global_step


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Plain, {}), (Plain, {"accumulate_grad_batches": 3}), (ByHand, {})],
    ids=["steps", "accumulated", "by hand"],
)
def test_after_each_step_if_the_time_is_over(kind, settings):
    expected, steps = fit(kind=kind, **settings)
    copying = Copy("out/checkpoints", "copies")
    fit(None, TimedCheckpoint(minutes=0), copying, kind=kind, **settings)
    assert max(copying.numbers) == 1
    copies = sorted(Path("copies").iterdir())
    assert len(copies) == steps - 1
    for path in copies:
        assert fit(path, kind=kind, **settings)[0] == expected, path.name


def test_not_before(tmp_path):
    fit(None, TimedCheckpoint())
    assert not Path("out/checkpoints").exists()


def test_beside_those_of_others():
    fit(None, TimedCheckpoint(0), ModelCheckpoint("mine", every_n_train_steps=5, filename="a"))
    assert sorted(path.name for path in Path("mine").iterdir()) == ["a.ckpt", "timed-step=27.ckpt"]


def test_only_its_own_are_removed():
    Path("c").mkdir()
    for name in ("signal-step=1.ckpt", "timed-step=2.ckpt", "timed-step=3.ckpt", "epoch=1.ckpt"):
        Path("c", name).touch()
    remove_newest(Path("c"), but=Path("c/timed-step=3.ckpt"))
    assert sorted(path.name for path in Path("c").iterdir()) == [
        "epoch=1.ckpt",
        "timed-step=3.ckpt",
    ]
