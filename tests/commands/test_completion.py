"""Completion: what bash itself offers with the script that is printed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ltsft.terminal.dispatch import COMMANDS


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    from ltsft.commands.completion import script

    path = tmp_path_factory.mktemp("completion") / "ltsft.bash"
    path.write_text(script(), encoding="utf-8")
    return path


def offered(script: Path, *words: str) -> set[str]:
    """What bash would offer for a command line whose last word is being typed."""
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _ltsft; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    run = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(run.stdout.split())


def test_commands(script):
    assert offered(script, "ltsft", "") == {*COMMANDS, "--help", "--version"}
    assert offered(script, "ltsft", "comp") == {"compose", "compare", "completion"}


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_options_of_tasks_data_phases_and_selections(script, command):
    assert offered(script, "ltsft", command, "--model.learning") == {"--model.learning_rate"}
    assert "--sparse.budget.density" in offered(script, "ltsft", command, "--sparse.budget.")
    assert "--data.max_length" in offered(script, "ltsft", command, "--data.")
    assert "--trainer.devices" in offered(script, "ltsft", command, "--trainer.")
    assert offered(script, "ltsft", command, "--ckpt") == {"--ckpt_path"}
    assert "--sparse.selection.seed" in offered(script, "ltsft", command, "--sparse.selection.")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("compose", "--as-sft"),
        ("overlap", "--plot"),
        ("study", "--dry-run"),
        ("compare", "--limit"),
    ],
)
def test_options_of_other_commands(script, command, option):
    assert option in offered(script, "ltsft", command, option[:4])


def test_files(script):
    Path("configs").mkdir()
    assert offered(script, "ltsft", "fit", "--config", "conf") == {"configs"}


def test_it_is_small(script):
    assert script.stat().st_size < 50_000


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_what_is_printed_is_valid(shell, ltsft):
    out, err = ltsft("completion", shell)
    assert err == []
    assert out.rstrip().endswith("complete -o filenames -F _ltsft ltsft")
    assert ("bashcompinit" in out) == (shell == "zsh")
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, text=True, check=True)


def test_another_shell_is_refused(ltsft):
    _, (line,) = ltsft("completion", "fish", status=2)
    assert "invalid choice: 'fish'" in line
