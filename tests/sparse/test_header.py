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


def header_of(path, listed, data=b"\0" * 8):
    text = listed if isinstance(listed, str) else json.dumps(listed)
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + data)
    return path


ABOUT = json.dumps({"format_version": 2, "sft": {}})
WHOLE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [2.0]}, "it says of `whole/a` "),
        ({"shape": [True, 2]}, "it says of `whole/a` "),
        ({"shape": [-2, -1]}, "it says of `whole/a` "),
        ({"shape": [1] * 65}, "it says of `whole/a` "),
        ({"shape": 2}, "it says of `whole/a` "),
        ({"shape": [3]}, "`whole/a` takes 8 bytes: "),
        ({"shape": [2**62, 2]}, "`whole/a` takes 8 bytes: "),
        ({"data_offsets": [0, 8, 8]}, "it says of `whole/a` "),
        ({"data_offsets": [8, 0]}, "`whole/a` takes -8 bytes: "),
        ({"data_offsets": [1, 9]}, "`whole/a` begins at byte 1 instead of 0"),
        ({"dtype": "F8_E4M3"}, "`whole/a` is of type 'F8_E4M3', and not BOOL, U8"),
        ({"dtype": ["F32"]}, r"`whole/a` is of type \['F32'\], and not"),
        ({"more": 1}, "it says of `whole/a` "),
    ],
)
def test_what_a_header_says_of_a_tensor(tmp_path, changes, message):
    """Whole, of known types, one after the other: as safetensors reads it, or refuses to."""
    listed = {"__metadata__": {"ltsft": ABOUT}, "whole/a": WHOLE}
    assert Header.read(header_of(tmp_path / "x", listed)).whole["a"].shape == (2,)
    with pytest.raises(LtsftError, match=message):
        Header.read(header_of(tmp_path / "x", listed | {"whole/a": WHOLE | changes}))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("[]", "its header is no object"),
        ('{"a": 1, "a": 2}', "it has the key 'a' twice"),
        ({"whole/a": WHOLE, "whole/b": WHOLE}, "`whole/b` begins at byte 0 instead of 8"),
        ({}, "its tensors would end at byte 0 of 8"),
        ({"whole/a": WHOLE}, "says nothing of one"),
        ({"whole/a": WHOLE, "__metadata__": 3}, "says nothing of one"),
        ({"whole/a": WHOLE, "__metadata__": {"ltsft": 3}}, "by a JSON object, but got 3: it is so"),
        ({"whole/a": WHOLE, "__metadata__": {"ltsft": "[" * 9999}}, "nested more than 100 deep"),
        ({"whole/a": WHOLE, "__metadata__": {"ltsft": '{"format_version": true}'}}, "has True; up"),
        ({"whole/a": WHOLE, "__metadata__": {"ltsft": '{"format_version": [2]}'}}, "has .2.; upd"),
        ({"whole/a": WHOLE, "__metadata__": {"ltsft": '{"format_version": 2}'}},
         "follow the format, but: metadata is expected to be a JSON object, but got None"),
        ({"whole/a": WHOLE, "__metadata__": {"ltsft": ABOUT.replace("{}", '{"task": 3}')}},
         "follow the format, but: `task` in the metadata is expected to be a line of text or null"),
    ],
)  # fmt: skip
def test_headers_of_others(tmp_path, listed, message):
    with pytest.raises(LtsftError, match=message) as caught:
        Header.read(header_of(tmp_path / "x", listed))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
