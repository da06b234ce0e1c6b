"""Config files of earlier versions: every key that worked still works, and means the same.

``tests/data_files/old_configs`` holds the files as they were before configs were put in groups.
"""

import re
import shlex
from pathlib import Path

import pytest

from ltsft.terminal.sft_cli import SftCLI
from tests.documented import ROOT
from tests.tiny import save_base

OLD = ROOT / "tests/data_files/old_configs"
FILES = sorted(str(path.relative_to(OLD)) for path in OLD.rglob("*.yaml"))

NOW = {
    **{f"mbert/{t}": [f"task/{t}", "model/mbert"] for t in ("language", "pos", "ner", "dp")},
    **{f"mbert/{task}": [f"task/{task}", "model/mbert"] for task in ("nli", "qa")},
    "mbert/high_resource": ["data/high_resource"],
    "xlmr": ["model/xlmr"],
    "smoke": ["trainer/smoke"],
    **{f"systems/{s}": [f"system/{s}"] for s in ("rand_sft", "bitfit", "full")},
    **{f"systems/madx_{part}": [f"system/madx_{part}"] for part in ("language", "task")},
    **{f"multi_source/{n}": [f"data/multi_source_{n}"] for n in ("dp", "nli")},
    "multi_source/nli_without_overlap": ["data/multi_source_nli_without_overlap"],
    **{f"data/{name}": [f"data/{name}"] for name in ("ud", "ner", "nli", "qa")},
}
"""Old file -> what takes its place."""


def parsed(root: Path, configs: list[str], options: list[str]) -> dict:
    """The values of a composition, without those that say where things are."""
    words = [word for config in configs for word in ("--config", str(root / f"{config}.yaml"))]
    config = SftCLI(["fit", *words, *options], run=False).config.fit.as_dict()
    config.pop("config")
    return config


@pytest.mark.parametrize("file", FILES)
def test_an_old_file_says_what_the_new_ones_say(file):
    """In the composition of its first comment, key by key."""
    first = (OLD / file).read_text(encoding="utf-8").splitlines()[0]
    _, _, command, *words = shlex.split(first)
    assert command == "fit"
    base = save_base(Path("base"))
    old, options = [], ["--model.base_model", base, "--model.base_sfts", "[]"]
    options += ["--languages.sfts", "{}"]
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option == "--config":
            old.append(re.fullmatch(r"configs/(.*)\.yaml", value)[1])
        elif option.startswith("--data."):
            options += [option, value]
    assert file.removesuffix(".yaml") in old
    new = [config for name in old for config in NOW[name]]
    assert parsed(OLD, old, options) == parsed(ROOT / "configs", new, options)


def test_every_old_file_has_its_place():
    assert {file.removesuffix(".yaml") for file in FILES} == NOW.keys()
    assert all(
        (ROOT / "configs" / f"{new}.yaml").is_file() for names in NOW.values() for new in names
    )
