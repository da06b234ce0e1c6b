"""Every system of docs/systems.md works: YAML builds a fit, commands run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from transformers import AutoModelForTokenClassification

from ltsft.sparse.composition import METHODS
from tests.documented import ROOT, compose, link_runs

PAGE = (ROOT / "docs/systems.md").read_text(encoding="utf-8")


class System(NamedTuple):
    """YAML of the page, in a block or in the file that it names, and its heading."""

    heading: str
    config: str
    yaml: str


def systems_under(heading: str, section: str) -> Iterator[System]:
    """What a section shows: blocks that begin with the config they go after, and files."""
    for block in re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        first, *lines = block.splitlines()
        assert 2 <= len(lines) <= 5
        yield System(heading, re.fullmatch(r"# after (configs/\S+\.yaml)", first)[1], block)
    for line in re.findall(r"^Files?: .*$", section, re.MULTILINE):
        for path in re.findall(r"`(configs/system/\w+\.yaml)`", line):
            text = (ROOT / path).read_text(encoding="utf-8")
            yield System(heading, re.search(r"configs/task/\w+\.yaml", text)[0], text)


_, *parts = re.split(r"^#{2,} (.*)$", PAGE, flags=re.MULTILINE)
SECTIONS = dict(zip(parts[::2], parts[1::2], strict=True))
SYSTEMS = [system for section in SECTIONS.items() for system in systems_under(*section)]
COMMANDS = re.findall(r"^```\n(ltsft .*?)\n```$", SECTIONS["Composition"], re.MULTILINE)
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


@pytest.mark.parametrize("block", SYSTEMS, ids=[f"{n}-{s.heading}" for n, s in enumerate(SYSTEMS)])
def test_yaml_after_its_config_builds_what_the_heading_says(block, runs):
    """And nothing in it is lost on the way to the model or the callback."""
    config = block.config
    Path("system.yaml").write_text(block.yaml, encoding="utf-8")
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
    assert len(sft.program) >= 1

    built = {"sparse": sft, "model": cli.model}
    for path, value in leaves(yaml.safe_load(block.yaml)):
        found = built[path[0]]
        for key in path[1:]:
            found = found if key in ("init_args", "class_path") else getattr(found, key)
        if isinstance(value, str) and not isinstance(found, str):
            found = type(found).__name__
        assert found == value, path


def test_every_system_has_its_yaml():
    """And there are no expectations of any that is not on the page."""
    headings = set(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))
    assert headings <= {system.heading for system in SYSTEMS}
    assert SELECTIONS.keys() | REWINDINGS.keys() <= headings


def test_every_file_is_on_the_page():
    files = {path.name for path in ROOT.glob("configs/system/*.yaml")}
    assert files == set(re.findall(r"configs/system/(\w+\.yaml)", PAGE))


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
