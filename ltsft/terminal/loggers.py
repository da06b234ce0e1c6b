"""Loggers by one word: where they write is where the fit writes."""

import inspect
import os
from pathlib import Path

from lightning.pytorch import loggers

from ltsft.terminal.csv_log import CsvLog

RUNS = "runs"
"""Where a fit without ``trainer.default_root_dir`` is logged."""


def csv_log(root: str | os.PathLike[str] | None) -> CsvLog:
    """A log in `root` itself; without a root, in the next free ``runs/version_N``."""
    if root is None:
        return CsvLog(os.getcwd(), name=RUNS)
    return CsvLog(Path(root), name="", version="")


def with_save_dir(args: list[str]) -> list[str]:
    """A command line in which a logger that is named alone gets the folder of the fit.

    Example:
        >>> with_save_dir(["--trainer.logger", "TensorBoardLogger"])[2:]
        ['--trainer.logger.save_dir', 'runs']
    """
    options = [arg.partition("=")[0] for arg in args]
    if "--trainer.logger" not in args or "--trainer.logger.save_dir" in options:
        return args
    after = args.index("--trainer.logger") + 2
    name = args[after - 1] if after <= len(args) else ""
    logger = getattr(loggers, name.rpartition(".")[2], None)
    if logger is None or "save_dir" not in inspect.signature(logger).parameters:
        return args
    root = "--trainer.default_root_dir"
    folder = args[args.index(root) + 1] if root in args[:-1] else RUNS
    return [*args[:after], "--trainer.logger.save_dir", folder, *args[after:]]
