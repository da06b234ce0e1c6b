"""Settings of the whole test suite: no network, one thread, nothing left behind."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Whatever a test writes without saying where ends up in its temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTSFT_CACHE", str(tmp_path / "cache"))
