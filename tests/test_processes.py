"""Ranks that a test starts: all end well, or what each of them wrote is in the message."""

import pytest

from tests.processes import ROOT, run_ranks


def test_what_a_failing_rank_wrote_is_told():
    with pytest.raises(AssertionError, match=r"exit codes (?s:.)*No such file .*'missing'"):
        run_ranks(2, "json.tool", "missing")


def test_a_rank_that_does_not_end_says_where_it_is(tmp_path, monkeypatch):
    (tmp_path / "sleeps.py").write_text("import time\ntime.sleep(99)\n")
    monkeypatch.setattr("tests.processes.ROOT", f"{tmp_path}:{ROOT}")
    with pytest.raises(AssertionError, match=r"\[None\], (?s:.)*sleeps.py\", line 2"):
        run_ranks(1, "sleeps", timeout_seconds=6)
