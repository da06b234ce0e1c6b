"""What a file says of itself is what it says when it is loaded, and nothing heavy is imported."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from ltsft.errors import LtsftError
from ltsft.sparse import SparseFineTuning
from ltsft.sparse.header import Header
from tests.sparse.test_fine_tuning import sft
from tests.sparse.test_old_files import CONTENTS, FOLDER


def assert_the_same(header, loaded):
    header.check_digest()
    assert header.metadata == loaded.metadata
    assert header.num_params == loaded.num_params
    assert {n: (e.shape, len(e)) for n, e in header.entries.items()} == {
        n: (tuple(d.shape), len(d)) for n, d in loaded.entries.items()
    }
    assert {n: (e.shape, e.numel()) for n, e in header.whole.items()} == {
        n: (tuple(t.shape), t.numel()) for n, t in loaded.whole.items()
    }


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_of_a_file_of_today(tmp_path, packed, dtype):
    value = sft(1, whole={"head.weight": torch.ones(3, 4).to(dtype)}, task="pos", labels=["Ä"])
    value.save(tmp_path / "x", packed=packed)
    assert_the_same(Header.read(tmp_path / "x"), SparseFineTuning.load(tmp_path / "x"))


@pytest.mark.parametrize("name", CONTENTS)
def test_of_files_of_earlier_versions(name):
    path = FOLDER / f"0.1.0-{name}.safetensors"
    assert_the_same(Header.read(path), SparseFineTuning.load(path))


@pytest.mark.parametrize("packed", [False, True])
def test_every_altered_byte_is_noticed(tmp_path, packed):
    sft(1).save(tmp_path / "x", packed=packed)
    content = (tmp_path / "x").read_bytes()
    for position in range(0, len(content), max(1, len(content) // 100)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / "y").write_bytes(damaged)
        with pytest.raises(LtsftError):
            Header.read(tmp_path / "y").check_digest()


@pytest.mark.parametrize(
    "tensors",
    [
        {"shape/a": torch.tensor([2])},
        {"shape/a": torch.tensor([1, 2, 3], dtype=torch.int8), "indices/a": torch.tensor([0])},
        {"shape/a": torch.tensor([2]), "indices/a": torch.tensor(0)},
    ],
)
def test_tensors_that_do_not_go_together(tmp_path, tensors):
    save_file(tensors, tmp_path / "x", {"ltsft": json.dumps({"format_version": 2})})
    with pytest.raises(LtsftError, match="expected to follow the format"):
        _ = Header.read(tmp_path / "x").entries


def test_it_is_read_without_torch(tmp_path):
    """Importing torch takes ten times as long as all of `ltsft inspect`."""
    sft(1).save(tmp_path / "x")
    code = f"""
import sys
from pathlib import Path
from ltsft.sparse.header import Header
header = Header.read(Path({str(tmp_path / "x")!r}))
header.check_digest()
print(header.num_params, {{"torch", "numpy", "safetensors"}} & sys.modules.keys())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == f"{sft(1).num_params} set()\n"
