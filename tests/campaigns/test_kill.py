"""A short form of the campaign; see :mod:`tests.campaigns.kill`."""

import os
import subprocess
import sys
from pathlib import Path


def test_fits_that_are_killed_end_as_if_they_were_not():
    """In a process of its own: it forks, which a test runner with threads should not."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.kill", "--chains", "12", "--seed", "1"],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert "| all | 12 |" in result.stdout
