"""The page of `ltsft fit --help`: short, at once, and true."""

import re

import pytest

from ltsft.errors import LtsftError
from ltsft.terminal.help import asks_for_help, page, without_all
from ltsft.terminal.options import options_of_sft_cli

COMMANDS = ["fit", "validate", "test", "predict"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_on_it_exists(command):
    text = page(command)
    assert len(text.splitlines()) < 60
    assert max(map(len, text.splitlines())) <= 95
    shown = set(re.findall(r"--[\w.]+", text)) - {"--model.help", "--data.help", "--help"}
    assert len(shown) > 12
    assert shown - {"--data.text"} <= set(options_of_sft_cli()) | {"--option"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_that_page(command, ltsft):
    said = ltsft(command, "--config", "nothing.yaml", "--help")
    assert said.out == page(command) + "\n"


def test_all_options_are_one_step_further(ltsft):
    said = ltsft("fit", "--help", "all").out
    assert "--trainer.sync_batchnorm" in said
    assert "--sparse.rewinding" in said
    assert "--model.metric" in ltsft("fit", "--model.help", "Tagger").out


def test_all_goes_with_help_only():
    assert not asks_for_help(["--help", "all"])
    assert without_all(["--help", "all"]) == ["--help"]
    with pytest.raises(LtsftError, match="`--x` is expected to be `--help`"):
        without_all(["--x", "all"])
