"""A checkpoint is there whole, or not at all; what was left half written is cleared."""

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ltsft.callbacks import WholeCheckpointIO
from ltsft.errors import LtsftError
from tests.callbacks.plain import Plain, callback, trainer
from tests.callbacks.test_resume import Resumable


def test_what_was_written_comes_back():
    io, content = WholeCheckpointIO(), {"a": torch.arange(3), "b": [1, "x"]}
    io.save_checkpoint(content, "deep/er/a.ckpt")
    again = io.load_checkpoint("deep/er/a.ckpt")
    assert torch.equal(again["a"], content["a"])
    assert again["b"] == content["b"]
    io.remove_checkpoint("deep/er/a.ckpt")
    io.remove_checkpoint("deep/er/a.ckpt")
    assert not Path("deep/er/a.ckpt").exists()


@pytest.fixture
def little_room():
    """No file of this process gets longer than that, as on a disk that is full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("num_values", [10_000, 10_000_000])
def test_a_full_disk_is_one_line_and_leaves_the_earlier_one(num_values, little_room):
    io = WholeCheckpointIO()
    io.save_checkpoint({"a": 1}, "c/a.ckpt")
    little_room()
    with pytest.raises(LtsftError, match=r"c is expected to have room .* a.ckpt could not be writ"):
        io.save_checkpoint({"a": torch.zeros(num_values)}, "c/a.ckpt")
    assert io.load_checkpoint("c/a.ckpt") == {"a": 1}
    assert [path.name for path in Path("c").iterdir()] == ["a.ckpt"]


def test_a_full_disk_when_what_was_written_is_synced(monkeypatch):
    """Some file systems find out then."""

    def fsync(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    io = WholeCheckpointIO()
    io.save_checkpoint({"a": 1}, "c/a.ckpt")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(LtsftError, match="could not be written: No space left on device; "):
        io.save_checkpoint({"a": 2}, "c/a.ckpt")
    assert io.load_checkpoint("c/a.ckpt") == {"a": 1}


def test_what_a_killed_process_left_is_cleared():
    Path("c").mkdir()
    Path("c/.old.ckpt.abcdef").write_bytes(b"half")
    Path("c/other.txt").touch()
    WholeCheckpointIO().save_checkpoint({"a": 1}, "c/a.ckpt")
    assert sorted(path.name for path in Path("c").iterdir()) == ["a.ckpt", "other.txt"]


class Code:
    def __reduce__(self):
        return Path("made").touch, ()


def test_no_code_runs_on_reading():
    torch.save({"a": Code()}, "a.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        WholeCheckpointIO().load_checkpoint("a.ckpt")
    assert not Path("made").exists()


def test_a_fit_goes_on_from_what_it_wrote(tmp_path):
    """As a plugin of the Trainer."""

    def fit(ckpt_path=None, *extra):
        sft = callback()
        run = trainer(sft, *extra, plugins=[WholeCheckpointIO()], enable_checkpointing=bool(extra))
        run.fit(Plain(), Resumable(), ckpt_path=ckpt_path)
        return sft.sft

    expected = fit(None, ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=10))
    for path in tmp_path.glob("*.ckpt"):
        assert fit(path) == expected
