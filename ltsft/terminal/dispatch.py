"""From a command line to a command: a static list of them, each imported when it is called.

Nothing heavy is imported here: importing Lightning alone takes ten seconds on a slow machine, and
``ltsft --help`` should answer at once.
"""

import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ltsft.errors import LtsftError, options_by_yaml, printable
from ltsft.terminal import early
from ltsft.version import __version__

USER_ERROR = 2
"""Exit status for a user's mistake, as argparse has it."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""

TERMINATED = 143
"""Exit status after SIGTERM, likewise: nobody may take the command for done."""

BROKEN_PIPE = 141
"""Exit status where nobody reads on (``ltsft inspect … | head``): 128 + SIGPIPE."""


class Command(NamedTuple):
    """A command: a module in ``ltsft.commands``, and its line in the help.

    The module's ``main(name, args)`` runs it and may return an exit status.
    """

    module: str
    summary: str


COMMANDS = {
    "fit": Command("lightning", "Train a sparse fine-tuning: dense phase, select, sparse phase."),
    "validate": Command("lightning", "Score a model on its validation data."),
    "test": Command("lightning", "Score a model on test data, each language with its own SFT."),
    "predict": Command("lightning", "Write a model's predictions to a file."),
    "compose": Command("compose", "Add SFTs to their base: a plain Hugging Face checkpoint."),
    "convert": Command("convert", "Read files of others: published SFTs, full fine-tunings."),
    "inspect": Command("inspect", "Show what an SFT is, on what base, and its size per tensor."),
    "push": Command("push", "Publish SFTs on the Hugging Face hub, with cards."),
    "pull": Command("pull", "Download SFTs from the Hugging Face hub, and check them."),
    "overlap": Command("overlap", "Compare which entries SFTs select, pair by pair."),
    "compare": Command("compare", "Score predictions, with intervals and a paired test."),
    "configs": Command("configs", "List, show and copy the configs that come with ltsft."),
    "completion": Command("completion", "Print a script that completes commands and options."),
    "study": Command("study", "Run Algorithm 1 from a base model to a table of transfer scores."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; ``None``: those of the process.

    Returns:
        Exit status: 0, 2 after a user's mistake (one line on stderr says which), 130 after Ctrl-C,
        141 where what reads the output has ended, 143 after SIGTERM, 138 after SIGUSR1.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(help_text())
        return 0 if args else USER_ERROR
    if args[0] == "--version":
        print(f"ltsft {__version__}")
        return 0
    with options_by_yaml():
        return _run(*args)


def _run(name: str, *rest: str) -> int:
    """Run a command, and say what a user did wrong on one line."""
    args = [name, *rest]
    try:
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, 1)
            raise LtsftError(
                f"the command is expected to be one of {', '.join(COMMANDS)}, but got {name!r}; "
                + (f"did you mean `ltsft {near[0]}`?" if near else "see `ltsft --help`.")
            )
        if name in early.CHECKS:
            early.CHECKS[name](list(rest))
        command = importlib.import_module(f"ltsft.commands.{COMMANDS[name].module}")
        with _as_process_arguments(args):
            status = command.main(name, list(rest)) or 0
        sys.stdout.flush()  # here, where a closed pipe is no traceback
        return status
    except LtsftError as error:
        print(f"ltsft {name}: {one_line(error)}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python writes what is left once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as stop:  # argparse after --help, Lightning after Ctrl-C
        if isinstance(stop.__context__, KeyboardInterrupt):
            return INTERRUPTED
        if type(stop).__name__ == "SIGTERMException":  # Lightning's, without a status
            return TERMINATED
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0


def help_text() -> str:
    """The text of ``ltsft --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ltsft COMMAND [--help] ...",
            "",
            "Composable sparse fine-tuning for cross-lingual transfer (Ansell et al., 2022).",
            "",
            "commands:",
            *lines,
            "",
            "`ltsft COMMAND --help` explains a command, `ltsft --version` prints the version.",
        ]
    )


def one_line(error: BaseException) -> str:
    """The message of an error on one line.

    An error in a data loader's worker arrives with the worker's traceback in its message; its last
    line is the message.
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        text = re.sub(r"^[\w.]+: ", "", text.splitlines()[-1])
    return printable(re.sub(r"\s*\n\s*", " ", text))


@contextmanager
def _as_process_arguments(args: list[str]) -> Iterator[None]:
    """Let the process's arguments be `args`: a distributed fit starts its other ranks from them."""
    before = sys.argv
    sys.argv = [before[0], *args]
    try:
        yield
    finally:
        sys.argv = before
