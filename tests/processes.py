"""Several processes that train together (gloo), started by a test.

Each rank runs as ``python -m tests.processes module args``.
"""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch.distributed
from torch.distributed import TCPStore

ROOT = Path(__file__).parents[1]


def run_ranks(num_ranks: int, module: str, *args: str, timeout_seconds: float = 250) -> None:
    """Run ``python -m module args`` once for each rank, as a cluster's launcher would.

    If one rank fails the others are ended, as they would wait for it; so does none outlive a test.

    Args:
        num_ranks: How many.
        module: What to run.
        *args: Its arguments.
        timeout_seconds: When to give up.

    Raises:
        AssertionError: If a rank fails or is not done in time, with what each of them wrote.
    """
    codes, logs = end_of_ranks(num_ranks, module, *args, timeout_seconds=timeout_seconds)
    if any(code != 0 for code in codes):
        says = [f"rank {rank}:\n{log[-3000:]}" for rank, log in enumerate(logs)]
        raise AssertionError(f"exit codes {codes}, where None did not end.\n" + "\n".join(says))


def end_of_ranks(
    num_ranks: int,
    module: str,
    *args: str,
    timeout_seconds: float = 250,
    is_ended_by_one: bool = True,
) -> tuple[list[int | None], list[str]]:
    """Run ranks as :func:`run_ranks` does, and tell how they ended.

    The store by which ranks find each other is held here, as by torchrun, and not by the first
    rank: its port is taken before any of them starts, so that nobody else can get it, and it stays
    until the last of them has ended.

    Args:
        num_ranks: How many.
        module: What to run.
        *args: Its arguments.
        timeout_seconds: When to give up.
        is_ended_by_one: Whether the others are ended when one fails.

    Returns:
        Status of each, ``None`` where it had to be ended; and what each wrote.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    common = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(num_ranks),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        # Otherwise gloo asks for the address of the machine's name, which may take its time.
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        "PYTHONFAULTHANDLER": "1",
    }
    logs = [Path(f"rank{rank}.log").resolve() for rank in range(num_ranks)]
    ranks = []
    try:
        for rank, log in enumerate(logs):
            with log.open("w") as file:
                environment = {**os.environ, **common, "LOCAL_RANK": str(rank)}
                command = [sys.executable, "-m", "tests.processes", module, *args]
                ranks.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        end = time.monotonic() + timeout_seconds
        while any(rank.poll() is None for rank in ranks) and time.monotonic() < end:
            if is_ended_by_one and any(rank.returncode for rank in ranks):
                break
            time.sleep(0.1)
    finally:
        codes = [rank.poll() for rank in ranks]
        for rank in ranks:
            _end(rank)
    return codes, [log.read_text() for log in logs]


def _end(rank: "subprocess.Popen[bytes]") -> None:
    """Kill a rank that still runs; it writes first where in Python it was."""
    if rank.poll() is None:
        rank.send_signal(signal.SIGABRT)
        try:
            rank.wait(5)
        except subprocess.TimeoutExpired:
            rank.kill()
    rank.wait()


def _run(module: str) -> None:
    """Run a module in this rank; end the group before Python ends, whose end it might abort."""
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    del sys.argv[0]
    _run(sys.argv[0])
