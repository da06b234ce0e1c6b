"""Where a fit that was interrupted finds what to go on from, and what it passes over."""

import os
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace

from ltsft.errors import LtsftError
from ltsft.terminal.going_on import newest_checkpoint, to_go_on_from

GOOD = {"pytorch-lightning_version": "2", "optimizer_states": [], "callbacks": {"a": {}}}


def write(path, age_seconds, content=GOOD):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    os.utime(path, (1e9 - age_seconds,) * 2)
    return path


def options(root="out", folder=None):
    users = [Namespace(init_args=Namespace(dirpath=folder)), Namespace(class_path="Other")]
    return Namespace(default_root_dir=root, callbacks=users)


def test_what_cannot_be_gone_on_from_is_passed_over_with_a_line(capsys):
    """Newer ones that are torn, empty, foreign, of weights alone, or of the middle of a step."""
    write("c/good.ckpt", 50)
    write("c/older.ckpt", 60)
    torn = write("c/torn.ckpt", 0)
    torn.write_bytes(torn.read_bytes()[:-100])
    Path("c/empty.ckpt").touch()
    Path("c/folder.ckpt").mkdir()
    Path("c/link.ckpt").symlink_to("nowhere.ckpt")
    write("c/weights.ckpt", 3, {"pytorch-lightning_version": "2", "state_dict": {}})
    write("c/handler.ckpt", 2, GOOD | {"callbacks": {"S": {"moment": "in `on_exception`"}}})
    write("c/foreign.ckpt", 1, {"a": 1})
    assert newest_checkpoint([Path("c")]) == "c/good.ckpt"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("warning: c/") and "is passed over: " in line for line in lines)
    assert any("was in `on_exception`" in line for line in lines)
    Path("c/good.ckpt").unlink()
    Path("c/older.ckpt").unlink()
    with pytest.raises(LtsftError, match="there is none that can be gone on from in c; leave it"):
        newest_checkpoint([Path("c")])


def test_last_is_an_error_where_there_is_none():
    with pytest.raises(LtsftError, match="but there is none in out/checkpoints; leave it out to"):
        to_go_on_from("last", options())
    with pytest.raises(LtsftError, match="but there is none in runs/version_0/checkpoints;"):
        to_go_on_from("last", options(None))


def test_it_is_looked_for_where_callbacks_write_too(monkeypatch):
    write("out/checkpoints/a.ckpt", 5)
    write("mine [1]/b.ckpt", 1)
    assert to_go_on_from("last", options(folder="mine [1]")) == "mine [1]/b.ckpt"
    assert to_go_on_from("last", options()) == "out/checkpoints/a.ckpt"
    assert to_go_on_from("x.ckpt", options()) == "x.ckpt"
    assert to_go_on_from(None, options()) is None
    for number in (0, 9, 10):
        write(f"runs/version_{number}/checkpoints/c.ckpt", 20 - number)
    assert to_go_on_from("last", options(None)) == "runs/version_10/checkpoints/c.ckpt"


def test_a_job_of_slurm_goes_on_once_it_was_requeued(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    torn = write("out/checkpoints/a.ckpt", 5)
    assert to_go_on_from(None, options()) is None  # the checkpoint of another fit
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert to_go_on_from(None, options()) == "out/checkpoints/a.ckpt"
    assert to_go_on_from(None, options("new")) is None
    capsys.readouterr()
    torn.write_bytes(b"")
    assert to_go_on_from(None, options()) is None
    assert "The job was requeued, and begins anew.\n" in capsys.readouterr().out
    write("runs/version_0/checkpoints/c.ckpt", 1)  # maybe of a job beside this one
    assert to_go_on_from(None, options(None)) is None
    assert "warning: if this job is requeued it begins anew; name a" in capsys.readouterr().out
