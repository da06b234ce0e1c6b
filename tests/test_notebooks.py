"""The notebooks run from top to bottom, and are committed without noise."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.documented import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_is_a_first_one():
    assert ROOT / "notebooks/first_steps.ipynb" in NOTEBOOKS


@pytest.mark.timeout(900)  # under a minute alone on a core, minutes on a busy one
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    """In a kernel of its own; whatever it asserts holds, whatever it writes stays elsewhere."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
    folder = tmp_path / "work"
    folder.mkdir()
    NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_noise(path):
    """It begins with a title; outputs are results, not warnings, and name no place on a machine."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            said = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            assert "/tmp/" not in said
            assert "/home/" not in said
            assert str(Path.home()) not in said
