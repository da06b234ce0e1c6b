"""Files from strangers: each is refused in one line, or is what it says and comes off bit for bit.

```
python -m tests.campaigns.fuzz --files 100000
```

Some have bytes changed (a digest no longer fits), some are signed: odd in what they say, under a
right digest. What is in a file is told by a reader of its own (:mod:`tests.campaigns.sft_files`).
"""

import argparse
import faulthandler
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ltsft.errors import printable
from tests.campaigns import adapter_files, sft_changes
from tests.campaigns.adapter_trial import try_adapter
from tests.campaigns.judging import Wrong
from tests.campaigns.models import Models
from tests.campaigns.sft_trial import try_sft

_KINDS = ["plain"] * 6 + ["packed"] * 5 + ["older"] * 3 + ["released"] + ["adapterhub"] * 4
_NUM_SHOWN = 20
_MAX_SECONDS = 10
_MAX_BYTES = 256 << 20
"""What one file of a few kilobytes may take at most."""


@dataclass
class Report:
    """What became of the files.

    Args:
        counts: (kind, how it was changed, outcome) -> number of files.
        wrongs: Number of a file -> what it did.
    """

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    wrongs: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        outcomes = ["refused", "loaded, refused by the model", "loaded, applied and reverted"]
        lines = [f"{'':24}{outcomes[0]:>10}{outcomes[1]:>32}{outcomes[2]:>32}"]
        for kind, how in sorted({key[:2] for key in self.counts}):
            numbers = [self.counts[kind, how, outcome] for outcome in outcomes]
            cells = "".join(
                f"{number:>{width},}" for number, width in zip(numbers, (10, 32, 32), strict=True)
            )
            lines.append(f"{f'{kind}, {how}':24}{cells}")
        total = sum(self.counts.values()) + len(self.wrongs)
        lines.append(f"{total:,} files, {len(self.wrongs)} of them wrong")
        return "\n".join(lines)


def run(
    num_files: int, seed: int = 0, first: int = 0, say: Callable[[str], None] = print
) -> Report:
    """Make files, and look at what becomes of them.

    Args:
        num_files: How many.
        seed: Of everything; a file depends on it and on its number alone.
        first: Number of the first.
        say: Where lines go.
    """
    report, models, began = Report(), Models(), time.monotonic()
    for bombs in (sft_changes.bombs, adapter_files.bombs):
        bombs()  # made now, so that their making is not counted as their reading
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + num_files):
            chance = random.Random(f"{seed}/{number}")
            kind = chance.choice(_KINDS)
            how = "bytes" if chance.random() < 0.35 else "signed"
            peak = _peak_bytes()
            try:
                with _time_limit(_MAX_SECONDS):
                    trial = try_adapter if kind == "adapterhub" else try_sft
                    outcome = trial(kind, how, chance, Path(folder), models)
                if (grown := _peak_bytes() - peak) > _MAX_BYTES:
                    raise Wrong(f"it took {grown >> 20:,} MiB")
                report.counts[kind, how, outcome] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a library's panic is no Exception
                where = traceback.extract_tb(error.__traceback__)[-1]
                told = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: "
                report.wrongs[number] = f"{kind}, {how}: {told}{printable(str(error))[:200]}"
                if len(report.wrongs) <= _NUM_SHOWN:
                    say(f"file {number}: {report.wrongs[number]}")
                models = Models()
            if (number + 1) % 10_000 == 0:
                say(f"{number + 1:,} files, {time.monotonic() - began:.0f} s")
    return report


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Wrong(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    """Run the campaign; status 1 if any file was wrong."""
    parser = argparse.ArgumentParser("python -m tests.campaigns.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first, to see it again")
    options = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    began = time.monotonic()
    report = run(options.files, options.seed, options.first)
    print(report)
    print(f"{time.monotonic() - began:.0f} s, peak memory {_peak_bytes() >> 20:,} MiB")
    return 1 if report.wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
