"""One case in a process of its own, one repetition for each line that it is sent.

Usage, by ``python -m benchmarks`` only: python -m benchmarks.worker GROUP CASE SIZE
"""

import ctypes
import os
import sys
from pathlib import Path

import torch

from benchmarks.cases import GROUPS
from benchmarks.sizes import SIZES


def resident_mib(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` of this process, by the system's account."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main() -> None:
    group, case, size = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    repetitions = GROUPS[group][case](SIZES[size])
    next(repetitions)  # optimizers make their state, libraries their threads
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    before = resident_mib("VmRSS")
    print("ready", flush=True)
    for _ in sys.stdin:
        seconds = next(repetitions)
        print(seconds, resident_mib("VmHWM"), resident_mib("VmHWM") - before, flush=True)


if __name__ == "__main__":
    main()
