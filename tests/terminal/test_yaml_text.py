"""Keys of YAML stay what was typed: codes of languages are text."""

import json
from pathlib import Path

import pytest
import yaml

from ltsft.errors import LtsftError
from ltsft.terminal.sft_cli import SftCLI
from ltsft.terminal.yaml_text import load
from tests.tiny import save_base

CODES = ["no", "on", "off", "yes", "y", "null", "1e5", "010", "1_0", "0x1f", "1.5", "~", "true"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "form", ["{{{}: a, en: b}}", "x:\n  {}: a\n  en: b\n"], ids=["flow", "block"]
)
def test_keys_are_text_in_any_mapping(code, form):
    value = load(form.format(code))
    mapping = value.get("x", value)
    assert mapping == {code: "a", "en": "b"}


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: [1, 1e-3, null, true, x]}\nc: &p {d: 2}\ne: *p\n",
        "p: &p {a: 1}\nq:\n  <<: *p\n  b: 2\n",
        "[1, [2, {a: 3}]]",
        '{"a": {"b": false}}',
    ],
)
def test_all_else_is_as_it_was(text):
    """Values, anchors, merged keys; judged by PyYAML, which only reads 1e-3 otherwise."""
    assert load(text) == yaml.safe_load(text.replace("1e-3", "0.001"))


@pytest.mark.parametrize("value", ["null", "None"])
def test_an_option_of_an_option_may_be_null(value):
    """It passes through two parsers, of which the inner one gets Python's text for it."""
    base = save_base(Path("base"))
    Path("text.txt").write_text("w1 w2\n" * 30)
    command = ["fit", "--model", "MaskedLM", "--model.base_model", base, "--data", "TextData"]
    command += ["--data.text", "text.txt", "--data.max_length", "16"]
    command += ["--sparse.selection", "NoEntries", "--model.adapters.task_reduction_factor", value]
    cli = SftCLI(command, run=False)
    assert cli.model.adapters.task_reduction_factor is None


def test_a_key_that_comes_twice_is_refused():
    """Wherever it is: a parser would take the last without a word."""
    with pytest.raises(LtsftError, match="come once, but `aa` comes 2 times; a list holds"):
        load("{x: [{aa: 1, bb: 2, aa: 1}]}")


def test_in_lists_only_true_and_false_are_truth_values():
    assert load("[no, sv, true, off]") == ["no", "sv", True, "off"]


def test_a_value_that_is_no_yaml_is_still_refused():
    with pytest.raises(yaml.YAMLError):
        load("{a: [")


@pytest.mark.parametrize("code", ["no", "on", "010", "null"])
@pytest.mark.parametrize("in_file", [True, False], ids=["file", "command line"])
def test_norwegian_is_trained_as_norwegian(code, in_file):
    base = save_base(Path("base"))
    Path("a.conllu").write_text("1\tw1\t_\tNOUN\t_\t_\t0\troot\t_\t_\n\n", encoding="utf-8")
    args = ["fit", "--model", "Tagger", "--model.base_model", base, "--data", "TaggingData"]
    args += ["--data.max_length", "24", "--sparse.budget.density", "0.1"]
    if in_file:
        text = f"data:\n  init_args:\n    train:\n      {code}: a.conllu\n"
        Path("c.yaml").write_text(text, encoding="utf-8")
        args += ["--config", "c.yaml"]
    else:
        args += ["--data.train", f"{{{code}: a.conllu}}"]
    args += ["--data.validation", json.dumps({code: "a.conllu"})]
    cli = SftCLI(args, run=False)
    assert cli.datamodule.training_languages == [code]
    assert cli.datamodule.evaluation_languages("validate") == [code]
    dumped = cli.parser.dump(cli.config)
    assert list(load(dumped)["fit"]["data"]["init_args"]["train"]) == [code]
