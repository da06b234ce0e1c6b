"""The command line of ``ltsft study``; whole studies are in tests/study."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.study.mini import STUDY, write_config

KEY = "sparse.budget.density"


def options_of(out: str, stage: str) -> dict[str, str]:
    """Options of the first planned run of a stage."""
    line = re.search(rf"^# {stage}: .*\n(.*)$", out, re.MULTILINE)[1]
    words = [word.removeprefix("--") for word in shlex.split(line) if word[:2] == "--"]
    return {key: value for key, _, value in (word.partition("=") for word in words)}


@pytest.fixture
def planned(ltsft):
    def plan(*args: str) -> dict[str, str]:
        out, err = ltsft("study", write_config(), *args, "--dry-run")
        assert err == []
        return options_of(out, "task")

    return plan


@pytest.mark.parametrize(
    "args",
    [
        ["--task_fit.options", f"{{{KEY}: 0.3}}"],
        [f"--task_fit.options={{{KEY}: 0.3}}"],
        [f"--task_fit.options.{KEY}", "0.3"],
        ["--config", "second.yaml"],
        ["--config=second.yaml"],
    ],
    ids=["mapping", "mapping, =", "single", "config", "config, ="],
)
def test_options_are_merged_as_those_of_a_fit_are(planned, args):
    """One changes, all others stay; whatever says it."""
    second = {"task_fit": {"options": {KEY: 0.3}}}
    Path("second.yaml").write_text(json.dumps(second), encoding="utf-8")
    before, after = planned(), planned(*args)
    assert STUDY["task_fit"]["options"].keys() <= before.keys()
    assert before[KEY] != "0.3"
    assert after == before | {KEY: "0.3"}


def test_the_last_one_wins(planned):
    args = ["--task_fit.options", f"{{{KEY}: 0.3}}", f"--task_fit.options.{KEY}", "0.4"]
    assert planned(*args)[KEY] == "0.4"
    assert planned(*args[2:], *args[:2])[KEY] == "0.3"


def test_what_is_no_mapping_is_refused(ltsft):
    _, (line,) = ltsft("study", write_config(), "--task_fit.options", "[1]", status=2)
    assert "`task_fit.options` is expected to be" in line
