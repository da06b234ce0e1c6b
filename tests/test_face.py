"""The names at the top of the package."""

import subprocess
import sys

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
    with pytest.raises(AttributeError, match="module 'ltsft' has no attribute 'nope'"):
        ltsft.nope  # noqa: B018
