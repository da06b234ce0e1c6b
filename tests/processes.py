"""Several processes that train together (gloo), started by a test."""

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_ranks(num_ranks: int, module: str, *args: str, timeout_seconds: float = 250) -> None:
    """Run ``python -m module args`` once for each rank, as a cluster's launcher would.

    If one rank fails the others are killed, as they would wait for it; so does none outlive a test.

    Args:
        num_ranks: How many.
        module: What to run.
        *args: Its arguments.
        timeout_seconds: When to give up.

    Raises:
        AssertionError: If a rank fails, with what it wrote, or is not done in time.
    """
    codes, logs = end_of_ranks(num_ranks, module, *args, timeout_seconds=timeout_seconds)
    for number, code in enumerate(codes):
        state = "is not done" if code is None else f"ended with {code}"
        assert code == 0, f"rank {number} {state}, of {codes}:\n{logs[number][-3000:]}"


def end_of_ranks(
    num_ranks: int,
    module: str,
    *args: str,
    timeout_seconds: float = 250,
    is_ended_by_one: bool = True,
) -> tuple[list[int | None], list[str]]:
    """Run ranks as :func:`run_ranks` does, and tell how they ended.

    Args:
        num_ranks: How many.
        module: What to run.
        *args: Its arguments.
        timeout_seconds: When to give up.
        is_ended_by_one: Whether the others are killed when one fails.

    Returns:
        Status of each, ``None`` where it had to be killed; and what each wrote.
    """
    common = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(num_ranks),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
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
                command = [sys.executable, "-m", module, *args]
                ranks.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        end = time.monotonic() + timeout_seconds
        while any(rank.poll() is None for rank in ranks) and time.monotonic() < end:
            if is_ended_by_one and any(rank.returncode for rank in ranks):
                break
            time.sleep(0.1)
    finally:
        codes = [rank.poll() for rank in ranks]
        for rank in ranks:
            if rank.poll() is None:
                rank.kill()
            rank.wait()
    return codes, [log.read_text() for log in logs]


def _free_port() -> int:
    """One below those that systems give to clients: nobody gets it by chance in the meantime."""
    while True:
        port = random.Random().randrange(15_000, 32_000)
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
