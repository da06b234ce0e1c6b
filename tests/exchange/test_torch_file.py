"""Files of ``torch.save`` from strangers: nothing runs, and memory is bounded by the file."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.exchange.torch_file import check_plain, read_torch_file


def test_tensors_and_plain_values_come_back():
    content = {"a": torch.arange(3.0), "b": [1, "x", (2, None)]}
    torch.save(content, "file.bin")
    again = read_torch_file(Path("file.bin"))
    assert torch.equal(again.pop("a"), content.pop("a"))
    assert again == content


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "save", [torch.save, lambda what, path: Path(path).write_bytes(pickle.dumps(what))]
)
def test_no_code_runs(save):
    save(Evil(), "file.bin")
    with pytest.raises(LtsftError, match="plain values, but cannot be read: "):
        read_torch_file(Path("file.bin"))
    assert not Path("made").exists()


def repack(path: str, compression: int) -> None:
    """Write the parts of a file of `torch.save` anew."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_a_small_file_that_unpacks_to_a_large_one():
    torch.save(torch.zeros(10**6), "file.bin")
    repack("file.bin", zipfile.ZIP_DEFLATED)
    assert os.path.getsize("file.bin") < 20_000
    with pytest.raises(LtsftError, match="bytes of it unpack to 4,0"):
        read_torch_file(Path("file.bin"))


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).expand(10**12),
        torch.tensor([1.0, float("nan")]),
        torch.tensor([float("inf")]),
        torch.tensor([1j]),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(2).to(torch.float8_e4m3fn),
        [1.0],
    ],
    ids=["view", "nan", "infinite", "complex", "sparse", "meta", "float8", "list"],
)
def test_what_is_no_plain_tensor(value):
    with pytest.raises(LtsftError, match="`x` is expected to be a tensor of finite numbers"):
        check_plain("x", value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_plain_tensors_pass(dtype):
    for value in (torch.ones(2, 3, dtype=dtype), torch.ones(0, dtype=dtype)):
        assert check_plain("x", value) is not None
        assert torch.equal(check_plain("x", torch.nn.Parameter(value, False)), value)
