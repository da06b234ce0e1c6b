"""What it costs, beside other ways to do the same.

Usage: python -m benchmarks [--size tiny] [--only step,selection] [--repeat 5] [--json FILE]

Each case runs in a process of its own, in turn with the first of its group, so that a machine that
slows down slows both. Printed are medians, and those of the ratios to the first case.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.cases import GROUPS
from benchmarks.sizes import SIZES
from ltsft.terminal.table import table


@dataclass(frozen=True)
class Row:
    """One case's figures.

    Args:
        group: What was done.
        case: In which way.
        seconds: Median.
        peak_mib: Largest resident memory of the process after its first repetition.
        extra_mib: What of it came on top of what was there between repetitions.
        time_ratio: Median of the ratios to the group's first case in the same turn.
        peak_ratio: Likewise of memory.
    """

    group: str
    case: str
    seconds: float
    peak_mib: float
    extra_mib: float
    time_ratio: float
    peak_ratio: float


Turns = list[list[float]]  # per repetition: seconds, peak, what of it was in passing


def measure(group: str, size: str, repeat: int, threads: int) -> list[Row]:
    """Run each case of a group in turn with the first."""
    first, *others = GROUPS[group]
    rows = []
    for case in others:
        base, turns = _in_turn(group, [first, case], size, repeat, threads)
        if not rows:
            rows.append(_row(group, first, base, base))
        rows.append(_row(group, case, turns, base))
    return rows


def _row(group: str, case: str, turns: Turns, base: Turns) -> Row:
    ratios = [turn[0] / other[0] for turn, other in zip(turns, base, strict=True)]
    seconds, (_, peak, extra) = median(turn[0] for turn in turns), turns[-1]
    return Row(group, case, seconds, peak, extra, median(ratios), peak / base[-1][1])


def _in_turn(group: str, cases: list[str], size: str, repeat: int, threads: int) -> list[Turns]:
    """What each of several cases, in processes of their own, took at each repetition."""
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"),  # torch's, and those of tokenizers
        str(threads),
    )
    workers = []
    for case in cases:
        command = [sys.executable, "-m", "benchmarks.worker", group, case, size]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        _line(worker)  # one sets up after the other
        workers.append(worker)
    turns: list[Turns] = [[] for _ in workers]
    for _ in range(repeat):
        for worker, of_worker in zip(workers, turns, strict=True):
            assert worker.stdin is not None
            worker.stdin.write("once\n")
            worker.stdin.flush()
            of_worker.append([float(word) for word in _line(worker).split()])
    for worker in workers:
        worker.communicate()
    return turns


def _line(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"{' '.join(map(str, worker.args))} ended: see above.")  # type: ignore[arg-type]
    return line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, by commas")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    rows = [
        row
        for group in options.only.split(",")
        for row in measure(group, options.size, options.repeat, options.threads)
    ]
    print(f"size {options.size}, {options.threads} threads, {options.repeat} repetitions\n")
    header = ["", "", "seconds", "ratio", "peak MiB", "ratio", "of it in passing"]
    cells = [
        [
            *(row.group, row.case, f"{row.seconds:.3f}", f"{row.time_ratio:.2f}"),
            *(f"{row.peak_mib:,.0f}", f"{row.peak_ratio:.2f}", f"{row.extra_mib:,.0f}"),
        ]
        for row in rows
    ]
    print(table(header, cells))
    if options.json:
        about = {"size": options.size, "threads": options.threads, "repeat": options.repeat}
        options.json.write_text(json.dumps(about | {"rows": [asdict(r) for r in rows]}, indent=2))


if __name__ == "__main__":
    main()
