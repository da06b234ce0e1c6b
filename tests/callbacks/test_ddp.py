"""Two processes (gloo) hold one mask, and the weights of one process with the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ltsft.sparse import SparseFineTuning

ROOT = Path(__file__).parents[2]


def fit(folder, num_ranks, *more, script="ddp_fit"):
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"tests.callbacks.{script}"]
    command += [str(argument) for argument in (folder, num_ranks, *more)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr[-3000:]
    ranks = [torch.load(folder / f"rank{rank}.pt") for rank in range(num_ranks)]
    return ranks, SparseFineTuning.from_pretrained(folder)


def test_two_processes_equal_one(tmp_path):
    """Float64 and no dropout; sums over ranks are taken in another order, hence 1e-12.

    The ranks even start from different weights: the first rank's count, for the rewind as well.
    Resuming at the boundary with two processes gives the same to the bit.
    """
    (one,), sft_one = fit(tmp_path / "one", 1, 1, "-")
    (first, second), sft_two = fit(tmp_path / "two", 2, 1, "-")
    assert first["mask"] == second["mask"] == one["mask"]
    for name, expected in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], expected, rtol=0, atol=1e-12)
    for name, delta in sft_one.entries.items():
        assert torch.equal(delta.indices, sft_two.entries[name].indices)

    (_, resumed), again = fit(tmp_path / "again", 2, 1, tmp_path / "two" / "boundary.ckpt")
    assert again == sft_two
    for name, expected in first["weights"].items():
        assert torch.equal(resumed["weights"][name], expected), name

    (accumulated, _), _ = fit(tmp_path / "accumulated", 2, 2, "-")
    assert accumulated["mask"] == one["mask"]
    for name, expected in one["weights"].items():
        torch.testing.assert_close(accumulated["weights"][name], expected, rtol=0, atol=1e-12)


def test_many_sources_on_two_processes_equal_one(tmp_path):
    """Each step of one language on both; float64, hence 1e-12 as above."""
    (one,), sft_one = fit(tmp_path / "one", 1, script="ddp_sources")
    (first, second), sft_two = fit(tmp_path / "two", 2, script="ddp_sources")
    for name, expected in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], expected, rtol=0, atol=1e-12)
    for name, delta in sft_one.entries.items():
        assert torch.equal(delta.indices, sft_two.entries[name].indices)


@pytest.mark.parametrize("case", ["gates", "rounds"])
def test_other_dense_phases_are_alike_on_all_ranks(tmp_path, case):
    """Gates are drawn alike, rounds begin alike; float64, hence 1e-12 as above."""
    (one,), _ = fit(tmp_path / "one", 1, 1, "-", case)
    (first, second), _ = fit(tmp_path / "two", 2, 1, "-", case)
    assert first["mask"] == second["mask"] == one["mask"]
    for name, expected in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], expected, rtol=0, atol=1e-12)
