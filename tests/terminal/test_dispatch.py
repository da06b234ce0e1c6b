"""The dispatcher: its help, its exit statuses, its one line per mistake."""

import subprocess
import sys
import types

import pytest

from ltsft.errors import LtsftError
from ltsft.terminal.dispatch import BROKEN_PIPE, COMMANDS, INTERRUPTED, USER_ERROR, main, one_line

HEAVY = ("torch", "lightning", "transformers", "datasets", "jsonargparse", "snakemake", "numpy")


def test_help_imports_nothing_heavy():
    """In a process of its own: this one has imported everything."""
    code = (
        "import sys; from ltsft.cli import main; assert main(['--help']) == 0; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert f"\n  {name} " in run.stdout


def test_without_a_command_it_shows_the_help_and_fails(capsys):
    assert main([]) == USER_ERROR
    assert "commands:" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ltsft ")


def test_unknown_command(capsys):
    assert main(["fitt"]) == USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert "the command is expected to be one of fit, validate" in line
    assert "'fitt'" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert "usage: ltsft" in capsys.readouterr().out


def command_that(monkeypatch, does):
    """Make `inspect` do something else."""
    module = types.SimpleNamespace(main=lambda name, args: does())
    monkeypatch.setitem(sys.modules, "ltsft.commands.inspect", module)


def test_a_mistake_is_one_line_and_status_2(monkeypatch, capsys):
    def fail():
        raise LtsftError("first\n  second")

    command_that(monkeypatch, fail)
    assert main(["inspect"]) == USER_ERROR
    assert capsys.readouterr().err == "ltsft inspect: first second\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    command_that(monkeypatch, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["inspect"])


def test_interrupt(monkeypatch):
    """Ctrl-C gives 130; also where Lightning has caught it and left by ``sys.exit(1)``."""

    def interrupt():
        raise KeyboardInterrupt

    def interrupt_lightning():
        try:
            interrupt()
        except KeyboardInterrupt:
            sys.exit(1)

    for does in (interrupt, interrupt_lightning):
        command_that(monkeypatch, does)
        assert main(["inspect"]) == INTERRUPTED


@pytest.mark.parametrize(("code", "status"), [(None, 0), (3, 3), ("a reason", 1)])
def test_exits_become_statuses(monkeypatch, code, status):
    command_that(monkeypatch, lambda: sys.exit(code))
    assert main(["inspect"]) == status


def test_a_command_sees_its_own_arguments_as_the_process(monkeypatch):
    """Lightning starts the other ranks of a distributed fit from ``sys.argv``."""
    seen = []
    command_that(monkeypatch, lambda: seen.extend(sys.argv[1:]))
    before = list(sys.argv)
    main(["inspect", "a", "b"])
    assert seen == ["inspect", "a", "b"]
    assert sys.argv == before


def test_one_line_of_an_error_in_a_worker():
    """Its message has the worker's traceback in it."""
    error = LtsftError(
        "Caught LtsftError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        "last):\n  File x\nltsft.errors.LtsftError: `a` is expected to be b."
    )
    assert one_line(error) == "`a` is expected to be b."


@pytest.mark.parametrize("num_lines", [1, 100_000])
def test_a_reader_that_ends_early_is_no_error(num_lines):
    """``| head``: nothing on stderr, whether or not the output fits into the pipe."""
    code = (
        "import sys, types\n"
        "from ltsft.terminal.dispatch import main\n"
        f"command = lambda name, args: [print('line') for _ in range({num_lines})] and 0\n"
        "sys.modules['ltsft.commands.inspect'] = types.SimpleNamespace(main=command)\n"
        "sys.exit(main(['inspect']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == BROKEN_PIPE
