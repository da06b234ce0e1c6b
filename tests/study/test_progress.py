"""How far a study says it is."""

import io
import sys
import time
from pathlib import Path

from ltsft.study import progress
from ltsft.study.progress import StudyProgress, last_phase


def stamps(num):
    return [Path(f"{number}.json") for number in range(num)]


def test_runs_are_counted_whoever_did_them(monkeypatch):
    """Two of five before, one in 30 seconds: two more take a minute."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for stamp in stamps(5)[:2]:
        stamp.touch()
    study = StudyProgress(stamps(5))
    assert str(study) == "2 of 5 runs"
    stamps(5)[4].touch()
    now[0] += 30
    assert str(study) == "3 of 5 runs, about 0:01:00 left"
    for stamp in stamps(5):
        stamp.touch()
    assert str(study) == "5 of 5 runs"


def test_the_running_fits_steps_are_those_of_its_log():
    log = Path("fit.log")
    assert last_phase(log) == ""
    log.write_text("Seed set to 0\ndense 12/40, 0:01:10 left, train_loss 2.3\nSelected 3\n")
    assert last_phase(log) == "dense 12/40, 0:01:10 left"
    log.write_text(log.read_text() + "sparse 3/40, 0:00:50 left, train_loss 2.1\n")
    assert last_phase(log) == "sparse 3/40, 0:00:50 left"


def test_a_terminal_shows_them_and_a_file_gets_nothing(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LOOKS", 0.01)
    Path("fit.log").write_text("dense 12/40, 0:01:10 left, train_loss 2.3\n")
    for is_terminal in (True, False):
        out = io.StringIO()
        out.isatty = lambda is_terminal=is_terminal: is_terminal
        monkeypatch.setattr(sys, "stdout", out)
        with StudyProgress([]).watch("task: x", Path("fit.log")):
            for _ in range(300):
                time.sleep(0.01)
                if "dense 12/40" in out.getvalue() or not is_terminal:
                    break
        assert ("task: x: dense 12/40, 0:01:10 left" in out.getvalue()) is is_terminal
        assert bool(out.getvalue()) is is_terminal
