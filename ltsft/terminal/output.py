"""What a command says, and how it looks."""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ltsft.errors import printable
from ltsft.terminal.table import table


class _ToStdout(logging.Handler):
    """Writes to whatever stdout is at that moment (a test or a study may have replaced it)."""

    def emit(self, record: logging.LogRecord) -> None:
        print(printable(self.format(record), keep="\n\t"), flush=True)


@contextmanager
def libraries_on_stdout() -> Iterator[None]:
    """Send what libraries log and warn of to stdout, one line each.

    That leaves stderr to the one line that says why a command failed. Advertising is dropped, and
    so is transformers' remark that a head is new: every task here trains its head.
    """
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    shows_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    handler = _ToStdout()
    handler.addFilter(lambda record: "Tip: For seamless" not in record.getMessage())
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    with warnings.catch_warnings():
        # Deprecations are news for whoever writes code, not for whoever runs a command.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        # Lightning's hints about workers and intervals are about speed, and wrong for small runs.
        warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=r"Experiment logs directory .* exists")
        warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists")
        # A score needs the weights of a checkpoint and not the callbacks that trained them.
        warnings.filterwarnings("ignore", message=r"Be aware that when using `ckpt_path`")
        warnings.showwarning = _show_warning
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        try:
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)
            if shows_bars:
                transformers_logging.enable_progress_bar()
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(printable(f"warning: {message}", keep="\n\t"), flush=True)


_NO_SHARES = ("loss", "perplexity")
"""How names of scores end that are no share of 1."""


def score_table(scores: Mapping[str, float]) -> str:
    """Lay out logged scores, ``metric/language`` -> value, one row per language.

    Shares of 1 are printed in per cent, as in all tables of ltsft; losses and perplexities have no
    unit.
    """
    names = [key.partition("/") for key in scores]
    metrics = list(dict.fromkeys(metric for metric, _, _ in names))
    languages = list(dict.fromkeys(language for _, _, language in names))

    def cell(metric: str, language: str) -> str:
        value = scores.get(f"{metric}/{language}" if language else metric)
        if value is None:
            return ""
        return f"{value:.4f}" if metric.endswith(_NO_SHARES) else f"{100 * value:.2f}"

    rows = [[lang or "all", *(cell(metric, lang) for metric in metrics)] for lang in languages]
    return table(["language", *metrics], rows)


def written(path: Path, *, replaced: bool) -> str:
    """The line that says where results are, and whether earlier ones are gone."""
    over = ", over an earlier one; name another `trainer.default_root_dir` to keep both"
    return f"Wrote {path}{over if replaced else ''}."
