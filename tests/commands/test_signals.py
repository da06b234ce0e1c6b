"""A command that a signal ends says so by its status, and its fit goes on bit-identically."""

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from ltsft.sparse import SparseFineTuning
from tests.trained import TEXT

SIGNAL = "tests.callbacks.test_signals.SignalAt"


def fit(trained, folder, *more):
    return [
        "fit", "--model", "MaskedLM", "--model.base_model", trained.base, *TEXT, "--data.text",
        trained.text, "--data.language", "aa", "--sparse.budget.density", "0.1",
        "--sparse.dense.max_steps", "5", "--sparse.sparse.max_steps", "5",
        "--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", folder, *more,
    ]  # fmt: skip


def at(hook, time, number=signal.SIGTERM):
    options = {"hook": hook, "time": time, "number": int(number)}
    return ["--trainer.callbacks", json.dumps([{"class_path": SIGNAL, "init_args": options}])]


@pytest.fixture
def expected(trained, ltsft):
    ltsft(*fit(trained, "whole"))
    return SparseFineTuning.from_pretrained("whole")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_status_line_and_going_on(number, status, trained, ltsft, expected):
    out, err = ltsft(*fit(trained, "out", *at("on_after_backward", 7, number)), status=status)
    assert err == []
    line = next(line for line in out.splitlines() if line.startswith("Interrupted in the phase"))
    assert "sparse 2/5" in line
    assert "call the same command with `--ckpt_path out/checkpoints/signal-step=7.ckpt`" in line
    assert not Path("out/sft").exists()
    ltsft(*fit(trained, "out", "--ckpt_path", "last"))
    assert SparseFineTuning.from_pretrained("out") == expected
    assert not list(Path("out").rglob("*.ckpt"))


def test_a_requeued_job_goes_on_by_itself(trained, ltsft, expected, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    ltsft(*fit(trained, "out", *at("on_after_backward", 3)), status=143)
    out, _ = ltsft(*fit(trained, "out"))
    assert "The job was requeued: going on from out/checkpoints/signal-step=3.ckpt." in out
    assert SparseFineTuning.from_pretrained("out") == expected


def test_the_newest_that_can_be_read(trained, ltsft, expected):
    """A torn one is passed over; without any it is an error, and nothing begins."""
    ltsft(*fit(trained, "out", *at("on_after_backward", 3)), status=143)
    whole = Path("out/checkpoints/signal-step=3.ckpt")
    torn = whole.with_name("newer.ckpt")
    torn.write_bytes(whole.read_bytes()[:-500])
    os.utime(torn, (whole.stat().st_mtime + 10,) * 2)
    out, _ = ltsft(*fit(trained, "out", "--ckpt_path", "last"))
    assert f"warning: {torn} is passed over: " in out
    assert SparseFineTuning.from_pretrained("out") == expected
    torn.write_bytes(b"nothing")
    _, (line,) = ltsft(*fit(trained, "out", "--ckpt_path", "last"), status=2)
    assert "expected to be a checkpoint, but there is none that can be gone on from in out/" in line
    _, (line,) = ltsft(*fit(trained, "new", "--ckpt_path", "last"), status=2)
    assert "but there is none in new/checkpoints; leave it out to begin anew" in line


@pytest.mark.parametrize("hook", ["on_test_batch_end", "on_test_start"])
def test_a_test_that_is_ended_has_not_ended_well(hook, trained, ltsft):
    command = [
        "test", "--model", "MaskedLM", "--model.base_model", trained.base, *TEXT, "--data.test",
        trained.text, "--data.language", "aa", "--trainer.default_root_dir", "out",
        "--model.base_sfts", f"[{trained.languages['aa']}]", *at(hook, 1),
        "--data.eval_batch_size", "2",
    ]  # fmt: skip
    ltsft(*command, status=143)
    assert not Path("out/scores.json").exists()


def test_a_second_fit_in_a_folder_is_refused(trained, ltsft):
    """As long as the first one runs; the system lets go of the lock when it ends."""
    Path("out").mkdir()
    with open("out/.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _, (line,) = ltsft(*fit(trained, "out"), status=2)
    assert "another fit is running in `out`; wait for it, or set another `trainer.defa" in line
    assert not Path("out/sft").exists()
    ltsft(*fit(trained, "out"))


def test_what_an_earlier_fit_left_is_kept(trained, ltsft):
    """Its fine-tuning, its config and its log have other names from then on."""
    ltsft(*fit(trained, "out"))
    files = ["fit.yaml", "metrics.csv", "sft/sft.safetensors"]
    before = [Path("out", name).read_bytes() for name in files]
    out, _ = ltsft(*fit(trained, "out", "--sparse.sparse.max_steps", "6"))
    assert "The config of an earlier fit is kept as out/fit-1.yaml." in out
    kept = ["fit-1.yaml", "metrics-1.csv", "sft/sft-1.safetensors"]
    assert [Path("out", name).read_bytes() for name in kept] == before


def test_the_config_repeats_the_fit_from_its_beginning(trained, ltsft, expected):
    """Of one that was gone on with, too; which keeps no second copy of the same config."""
    ltsft(*fit(trained, "out", *at("on_after_backward", 3)), status=143)
    ltsft(*fit(trained, "out", *at("on_after_backward", 3), "--ckpt_path", "last"), status=143)
    ltsft(*fit(trained, "out", *at("on_train_end", 9), "--ckpt_path", "last"))
    assert sorted(path.name for path in Path("out").glob("fit*.yaml")) == ["fit-1.yaml", "fit.yaml"]
    ltsft("fit", "--config", "out/fit.yaml", "--trainer.default_root_dir", "again")
    assert SparseFineTuning.from_pretrained("again") == expected
