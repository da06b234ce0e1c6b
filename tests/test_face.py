"""The names at the top of the package."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ltsft
import ltsft.callbacks
import ltsft.errors
import ltsft.sparse


@pytest.mark.parametrize("name", ltsft.__all__)
def test_each_name_is_that_of_its_room(name):
    homes = (ltsft.sparse, ltsft.callbacks, ltsft.errors)
    assert getattr(ltsft, name) is next(getattr(home, name) for home in homes if name in dir(home))
    assert name in dir(ltsft)


def test_the_package_alone_imports_nothing_heavy():
    code = (
        "import sys, ltsft; dir(ltsft)\n"
        "print([name for name in ('torch', 'lightning', 'transformers') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="No ltsft attribute nope"):
        ltsft.nope  # noqa: B018


def test_the_lowest_versions_of_ci_are_those_of_the_package():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = {}
    for dependency in project["dependencies"]:
        name, bound = re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", dependency).groups()
        lowest[name] = bound
    pinned = dict(re.findall(r"^([\w.-]+)==([\d.]+)$", (root / ".ci/lowest.txt").read_text(), re.M))
    assert pinned.keys() == lowest.keys()
    for name, version in pinned.items():
        assert f"{version}.".startswith(f"{lowest[name]}."), name
