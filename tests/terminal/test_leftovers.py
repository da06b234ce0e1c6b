"""Checkpoints of a fit: named when it was interrupted, removed when it was not."""

from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from ltsft.terminal.leftovers import Leftovers
from tests.callbacks.plain import Plain, callback, data, trainer


def fit(*others, keep=False, sft=None, module=None):
    callbacks = [sft or callback(), *others, Leftovers(keep)]
    run = trainer(*callbacks, enable_checkpointing=bool(others), default_root_dir="out")
    run.fit(module or Plain(), data(), data(seed=2))


def every(num_steps, **settings):
    return ModelCheckpoint("out/checkpoints", every_n_train_steps=num_steps, **settings)


@pytest.mark.parametrize(
    ("settings", "keep", "num_left"),
    [
        ({}, False, 0),
        ({"save_last": True}, False, 0),
        ({}, True, 1),
        ({"save_top_k": -1}, False, 2),  # asked for, all of them
        ({"monitor": "val_loss", "num_steps": 5}, False, 1),
    ],
)
def test_those_to_go_on_from_are_removed_with_the_result(settings, keep, num_left):
    fit(every(**{"num_steps": 10} | settings), keep=keep)
    assert Path("out/sft/sft.safetensors").is_file()
    assert len(list(Path("out").glob("checkpoints/*.ckpt"))) == num_left
    assert Path("out/checkpoints").exists() == bool(num_left)


def test_other_files_beside_them_stay():
    Path("out/checkpoints").mkdir(parents=True)
    Path("out/checkpoints/notes.txt").write_text("mine")
    fit(every(5))
    assert [path.name for path in Path("out/checkpoints").iterdir()] == ["notes.txt"]


def test_without_a_result_they_stay():
    class Stopping(Plain):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = self.trainer.global_step >= 7

    with pytest.warns(UserWarning, match="no sparse fine-tuning was made"):
        fit(every(5), module=Stopping())
    assert len(list(Path("out").glob("checkpoints/*.ckpt"))) == 1


class Interrupted(Plain):
    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 8:
            raise KeyboardInterrupt
        return super().training_step(batch, batch_idx)


def test_an_interrupted_fit_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit):
        fit(every(5), module=Interrupted())
    out = capsys.readouterr().out
    assert "Interrupted in the phase dense 8/12. To go on from the newest checkpoint, call" in out
    (path,) = Path("out").glob("checkpoints/*.ckpt")
    assert f"`--ckpt_path {path.resolve()}`" in out or f"`--ckpt_path {path}`" in out


def test_that_of_an_earlier_part_is_removed_too(capsys):
    with pytest.raises(SystemExit):
        fit(every(5), module=Interrupted())
    (path,) = Path("out").glob("checkpoints/*.ckpt")
    copy = Path("elsewhere.ckpt")
    copy.write_bytes(path.read_bytes())
    saver = every(5)
    run = trainer(
        callback(), saver, Leftovers(False), enable_checkpointing=True, default_root_dir="out"
    )
    run.fit(Plain(), data(), data(seed=2), ckpt_path=path)
    assert Path("out/sft/sft.safetensors").is_file()
    assert not Path("out/checkpoints").exists()
    assert copy.exists()


def test_without_a_checkpoint_it_says_so(capsys):
    with pytest.raises(SystemExit):
        fit(module=Interrupted())
    assert "no checkpoint was written yet: the same command begins anew" in capsys.readouterr().out
