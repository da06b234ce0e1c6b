"""Settings of the whole test suite: no network, one thread, nothing left behind."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch

from ltsft.errors import options_by_yaml

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Whatever a test writes without saying where ends up in its temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTSFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _options_by_yaml():
    """Tests that match messages know options by their keys of YAML, whatever raises them.

    ``tests/test_errors.py`` judges what they are in Python.
    """
    with options_by_yaml():
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Small fine-tunings, trained once by the command line; see :mod:`tests.trained`."""
    from tests.trained import train

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LTSFT_CACHE", str(folder / "cache"))
        return train(folder)


class Said(NamedTuple):
    """What a command said: its output, and the lines on stderr."""

    out: str
    err: list[str]


@pytest.fixture
def ltsft(capfd) -> Callable[..., Said]:
    """Run a command in this process and check its exit status; returns what it said.

    What its own processes said is in it, and it writes to real files, as Snakemake expects.
    """
    from ltsft.cli import main

    def run(*args: str, status: int = 0) -> Said:
        capfd.readouterr()
        ended = main(list(args))
        said = capfd.readouterr()
        assert ended == status, f"status {ended}: {said.err}\n{said.out}"
        return Said(said.out, said.err.splitlines())

    return run


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that this process takes for the real one, with an empty cache."""
    import huggingface_hub

    from tests.hub_server import PLACE_OF_A_FILE, TOKEN, running

    with running() as server:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        address = f"{server.url}/{PLACE_OF_A_FILE}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
