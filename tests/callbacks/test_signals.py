"""After a signal at any moment, a fit that goes on ends bit-identically to one that got none."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback
from lightning.pytorch.strategies import SingleDeviceStrategy

from ltsft.callbacks import Interrupted, Phase, SaveOnSignal
from ltsft.errors import LtsftError
from tests.callbacks.plain import Plain, callback, data, trainer
from tests.callbacks.test_resume import Resumable

HOOKS = [
    "on_sanity_check_start",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_save_checkpoint",
]


class SignalAt(Callback):
    """Sends this process a signal when a hook is called for the n-th time."""

    def __init__(self, hook, time, number=signal.SIGTERM):
        self.left, self.number = time, number
        setattr(self, hook, self._send)

    def _send(self, *_):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def fit(*extra, ckpt_path=None, **settings):
    module = Plain(dropout=0.3, batch_norm=True, seed=0 if ckpt_path is None else 99)
    sft = callback(
        dense=Phase(max_steps=12, l1=0.1),
        sparse=Phase(max_steps=9),
        monitor="val_loss",
        mode="min",
    )
    torch.manual_seed(5 if ckpt_path is None else 77)
    run = trainer(sft, *extra, SaveOnSignal(), **settings)
    run.fit(module, Resumable(), data(num=8, seed=2), ckpt_path=ckpt_path)
    return module.state_dict(), sft.sft


@pytest.fixture(scope="module")
def expected():
    return fit()


def same(one, other):
    weights, sft = one
    return sft == other[1] and all(torch.equal(weights[n], v) for n, v in other[0].items())


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("time", [1, 3])
def test_a_signal_at_any_moment(hook, time, expected, tmp_path):
    settings = {"default_root_dir": tmp_path}
    if hook in ("on_sanity_check_start", "on_train_start"):  # called once
        time = 1
    # A checkpoint is written for the hook that is called when there is one.
    extra = [SaveEach(tmp_path / "others", 4)] if hook == "on_save_checkpoint" else []
    with pytest.raises(Interrupted) as interrupted:
        fit(SignalAt(hook, time), *extra, **settings)
    assert interrupted.value.code == 143
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    assert str(path) == interrupted.value.path
    assert same(fit(ckpt_path=path), expected)


class SaveEach(Callback):
    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step % self.steps == 0:
            trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def test_several_signals_in_a_row(expected, tmp_path):
    """Each part goes on from the one before; five signals, in both phases and at their border."""
    path, parts = None, 0
    for time in (3, 9, 1, 2, 4):
        with pytest.raises(Interrupted) as interrupted:
            fit(
                SignalAt("on_before_backward", time),
                ckpt_path=path,
                default_root_dir=tmp_path / str(parts),
            )
        path, parts = interrupted.value.path, parts + 1
    assert path.endswith("signal-step=19.ckpt")
    assert same(fit(ckpt_path=path), expected)


def test_gradients_that_are_accumulated_are_not_lost(tmp_path):
    """The step is taken first, whatever micro-batch of it the signal meets."""
    settings = {"accumulate_grad_batches": 3, "default_root_dir": tmp_path}
    expected = fit(**settings)
    for time in (4, 5, 6):
        with pytest.raises(Interrupted) as interrupted:
            fit(SignalAt("on_before_backward", time), **settings)
        assert interrupted.value.path.endswith("signal-step=2.ckpt")
        assert same(fit(ckpt_path=interrupted.value.path, **settings), expected)


def test_handlers_are_what_they_were_afterwards(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    fit()
    with pytest.raises(Interrupted):
        fit(SignalAt("on_train_start", 1, signal.SIGUSR1), default_root_dir=tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


class Slurm(SLURMEnvironment):
    """As on a cluster, with one process."""

    def __init__(self, **settings):
        super().__init__(**settings)

    @staticmethod
    def _validate_srun_variables():
        """There are none."""

    def world_size(self):
        return 1

    def global_rank(self):
        return 0

    def local_rank(self):
        return 0

    def validate_settings(self, num_devices, num_nodes):
        """One process."""


@pytest.mark.parametrize("array", [False, True])
def test_slurm_is_asked_to_requeue_after_the_checkpoint_is_there(array, monkeypatch, tmp_path):
    asked = []

    def run(command, **_):
        asked.append((command, len(list(Path(tmp_path, "checkpoints").glob("*.ckpt")))))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    if array:
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    slurm = Slurm(requeue_signal=signal.SIGUSR2)
    with pytest.raises(Interrupted) as interrupted:
        fit(
            SignalAt("on_after_backward", 2, signal.SIGUSR2),
            plugins=[slurm],
            default_root_dir=tmp_path,
        )
    assert interrupted.value.code == 128 + signal.SIGUSR2
    assert asked == [(["scontrol", "requeue", "10_3" if array else "12"], 1)]
    assert slurm.auto_requeue


def test_a_requeue_that_fails_is_told(monkeypatch, tmp_path):
    def run(command, **_):
        raise FileNotFoundError("scontrol")

    monkeypatch.setattr(subprocess, "run", run)
    for job, message in (("12", "The job 12 could not be requeued: scontrol"), ("x;y", "'x;y'")):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        with pytest.raises(Interrupted), pytest.warns(match=message):
            fit(
                SignalAt("on_train_start", 1, signal.SIGUSR1),
                plugins=[Slurm()],
                default_root_dir=tmp_path,
            )


def test_ctrl_c_saves_as_well(expected, tmp_path, capfd):
    with pytest.raises(Interrupted) as interrupted:
        fit(SignalAt("on_after_backward", 4, signal.SIGINT), default_root_dir=tmp_path)
    assert interrupted.value.code == 130
    assert "Ctrl-C again ends at once." in capfd.readouterr().err
    assert same(fit(ckpt_path=interrupted.value.path), expected)


def test_ctrl_c_twice_ends_at_once(tmp_path):
    """Without a checkpoint; Lightning makes a SystemExit of it."""
    twice = [
        SignalAt(hook, 4, signal.SIGINT) for hook in ("on_after_backward", "on_before_backward")
    ]
    with pytest.raises(SystemExit) as stop:
        fit(*twice, default_root_dir=tmp_path)
    assert isinstance(stop.value.__context__, KeyboardInterrupt)
    assert not (tmp_path / "checkpoints").exists()


def test_ctrl_c_is_ignored_where_it_was(expected, tmp_path):
    """As in a job that a shell has in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = fit(SignalAt("on_after_backward", 4, signal.SIGINT), default_root_dir=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert same(run, expected)


def test_the_requeue_is_asked_for_before_any_rank_ends(monkeypatch, tmp_path):
    """A launcher that sees one end may kill the others, in the middle of asking."""
    order = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: order.append(command[1]))
    monkeypatch.setattr(SingleDeviceStrategy, "barrier", lambda *_: order.append("barrier"))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with pytest.raises(Interrupted):
        fit(
            SignalAt("on_train_start", 1, signal.SIGUSR1),
            plugins=[Slurm()],
            default_root_dir=tmp_path,
        )
    assert order[-2:] == ["requeue", "barrier"]


def test_its_place_is_after_the_phases():
    with pytest.raises(LtsftError, match="SaveOnSignal after SparseMaskCallback, .* put it last"):
        trainer(SaveOnSignal(), callback()).fit(Plain(), data())
