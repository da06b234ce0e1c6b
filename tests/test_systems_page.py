"""Every block of docs/systems.md works: YAML builds a fit, commands run."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from transformers import AutoModelForTokenClassification

from ltsft.callbacks.settings import check_rewinding, check_rounds
from ltsft.sparse.composition import METHODS
from tests.documented import ROOT, compose, link_runs

PAGE = (ROOT / "docs/systems.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A block of the page and the heading that it stands under."""

    heading: str
    language: str
    text: str


_, *parts = re.split(r"^#{2,} (.*)$", PAGE, flags=re.MULTILINE)
BLOCKS = [
    Block(heading, *found)
    for heading, section in zip(parts[::2], parts[1::2], strict=True)
    for found in re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
]
YAML = [block for block in BLOCKS if block.language == "yaml"]
COMMANDS = [block.text.strip() for block in BLOCKS if block.heading == "Composition"]
SELECTIONS = {
    "LT-SFT": "LargestChange",
    "RAND-SFT": "Random",
    "BitFit": "Biases",
    "Full fine-tuning": "AllEntries",
    "MAD-X 2.0": "NoEntries",
    "Pruned": "LargestChange",
    "DiffPruning": "DiffPruning",
    "ChangeTimesMagnitude": "ChangeTimesMagnitude",
    "FisherInformation": "FisherInformation",
    "LowRankChange": "LowRankChange",
    "Quota": "Quota",
    "Prune": "ChangeTimesMagnitude",
}
"""Heading -> the selection under it; ``LargestChange`` under all others."""

REWINDINGS = {
    "Pruned": "Prune",
    "ToStep": "ToStep",
    "LearningRate": "LearningRate",
    "Sign": "Sign",
    "Prune": "Prune",
}
"""Heading -> the rewinding under it; ``ToStart`` under all others."""


@pytest.fixture
def runs(trained):
    """The folders that the page names, with what was trained on a tiny model in them."""
    link_runs(trained)
    return trained


def leaves(values, path=()):
    """Each value in nested mappings, with its keys."""
    if not isinstance(values, dict):
        yield path, values
        return
    for key, value in values.items():
        yield from leaves(value, (*path, key))


@pytest.mark.parametrize("block", YAML, ids=[f"{n}-{b.heading}" for n, b in enumerate(YAML)])
def test_yaml_after_its_config_builds_what_the_heading_says(block, runs):
    """And nothing in it is lost on the way to the model or the callback."""
    first, *lines = block.text.splitlines()
    assert 2 <= len(lines) <= 5
    config = re.fullmatch(r"# after (configs/\S+\.yaml)", first)[1]
    Path("system.yaml").write_text(block.text, encoding="utf-8")
    data = "--data.train '{en: en-train.conllu}' --data.validation '{en: en-dev.conllu}'"
    if config.endswith("language.yaml"):
        data = "--data.text hsb.txt --data.language hsb"
    cli = compose(f"ltsft fit --config {config} --config system.yaml {data}", runs)

    (sft,) = [c for c in cli.trainer.callbacks if type(c).__name__ == "SparseMaskCallback"]
    assert type(sft.selection).__name__ == SELECTIONS.get(block.heading, "LargestChange")
    assert type(sft.rewinding).__name__ == REWINDINGS.get(block.heading, "ToStart")
    assert (cli.model.adapters is not None) == (block.heading == "MAD-X 2.0")
    assert (sft.until_settled is not None) == (block.heading == "until_settled")
    assert (sft.budget is not None) == sft.selection.needs_budget
    check_rewinding(sft.rewinding, sft.selection)
    check_rounds(sft.rounds, sft.selection, sft.rewinding)

    built = {"sparse": sft, "model": cli.model}
    for path, value in leaves(yaml.safe_load(block.text)):
        found = built[path[0]]
        for key in path[1:]:
            found = found if key in ("init_args", "class_path") else getattr(found, key)
        if isinstance(value, str) and not isinstance(found, str):
            found = type(found).__name__
        assert found == value, path


def test_every_system_has_its_yaml():
    """And there are no expectations of any that is not on the page."""
    headings = set(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))
    assert headings <= {block.heading for block in YAML}
    assert SELECTIONS.keys() | REWINDINGS.keys() <= headings


@pytest.mark.parametrize("command", COMMANDS)
def test_compositions_run(command, runs, ltsft):
    """They leave a plain model."""
    _, *args = shlex.split(command)
    _, err = ltsft(*args, "--base", runs.base)
    assert err == []
    AutoModelForTokenClassification.from_pretrained(args[args.index("--output") + 1])


def test_every_method_of_composition_is_there():
    methods = [re.search(r"--method (\w+)", command) for command in COMMANDS]
    assert [found[1] if found else "sum" for found in methods] == list(METHODS)


def test_links_lead_to_headings():
    headings = {
        h.lower().replace(" ", "-") for h in re.findall(r"^#{2,} (.*)$", PAGE, re.MULTILINE)
    }
    targets = re.findall(r"\]\(#([^)\s]+)\)", PAGE)
    assert targets
    assert set(targets) <= headings
