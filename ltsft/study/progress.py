"""How far a study is: runs done of all, the running one's steps, and the time left."""

import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 2.0
_PHASE = re.compile(r"(dense|sparse) \d+/\d+, .* left")
"""How lines of a fit's log begin that say how far it is; see `PhaseProgressBar`."""


class StudyProgress:
    """Counts runs by the stamps that they leave.

    Args:
        stamps: Where each run of the study leaves one when it is done.
    """

    def __init__(self, stamps: Sequence[str | Path]) -> None:
        self.stamps = [Path(stamp) for stamp in stamps]
        self._began = time.monotonic()
        self._done_before = self.num_done

    @property
    def num_done(self) -> int:
        """Runs that are done, whichever job did them."""
        return sum(stamp.is_file() for stamp in self.stamps)

    def __str__(self) -> str:
        """Runs done of all and the time left, if the others take as long as those of this job."""
        done = self.num_done
        text = f"{done} of {len(self.stamps)} runs"
        if done > self._done_before:
            seconds = (time.monotonic() - self._began) / (done - self._done_before)
            left = timedelta(seconds=round(seconds * (len(self.stamps) - done)))
            text += f", about {left} left" if done < len(self.stamps) else ""
        return text

    @contextmanager
    def watch(self, label: str, log: Path) -> Iterator[None]:
        """Show on a terminal, on one line, how far a run is, while it writes its log."""
        if not sys.stdout.isatty():
            yield
            return
        terminal, over = sys.stdout, threading.Event()

        def look() -> None:
            while not over.wait(_SECONDS_BETWEEN_LOOKS):
                print(
                    f"{label}: {last_phase(log) or log}\033[K", end="\r", file=terminal, flush=True
                )

        thread = threading.Thread(target=look, daemon=True)
        print(f"{label} … {log}\033[K", end="\r", file=terminal, flush=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def last_phase(log: Path) -> str:
    """What a fit said last of how far it is; empty if it did not."""
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (match[0] for line in reversed(lines) if (match := _PHASE.match(line)))
    return next(found, "")
