"""Folders, zips and files of AdapterHub as they occur; damaged and hostile ones are refused."""

import json
import zipfile

import pytest
import torch

from ltsft.exchange.adapterhub import read_adapter
from ltsft.exchange.adapterhub_files import read_files
from tests.exchange.hub import OPTIONS, about_new, check, expected, refused, tensors, write


@pytest.mark.parametrize("safe", [False, True])
def test_config_and_tensors_are_as_they_are(tmp_path, safe):
    write(tmp_path, about_new(), tensors(), safe)
    config, weights, _ = read_files(tmp_path)
    assert config == about_new()
    assert weights.keys() == tensors().keys()
    assert all(torch.equal(weights[key], tensor) for key, tensor in tensors().items())


class TestPlaces:
    """Folders, zips and files as they occur."""

    def test_the_old_torch_format(self, tmp_path):
        write(tmp_path, about_new(), tensors(), _use_new_zipfile_serialization=False)
        check(read_adapter(tmp_path, OPTIONS, "language"), expected(tensors()))

    def test_a_sub_folder_and_what_macos_left(self, tmp_path):
        write(tmp_path / "9a-3f-extracted", about_new(), tensors())
        (tmp_path / "._adapter_config.json").write_bytes(b"\0\5\x16\7")
        (tmp_path / "__MACOSX").mkdir()
        (tmp_path / "__MACOSX" / "adapter_config.json").write_bytes(b"\0")
        check(read_adapter(tmp_path, OPTIONS, "language"), expected(tensors()))

    @pytest.mark.parametrize("safe", [False, True])
    def test_the_file_itself(self, tmp_path, safe):
        write(tmp_path, about_new(), tensors(), safe)
        file = tmp_path / ("adapter.safetensors" if safe else "pytorch_adapter.bin")
        check(read_adapter(file, OPTIONS, "language"), expected(tensors()))

    def test_safetensors_are_preferred(self, tmp_path):
        write(tmp_path, about_new(), tensors(), safe=True)
        (tmp_path / "pytorch_adapter.bin").write_bytes(b"garbage")
        check(read_adapter(tmp_path, OPTIONS, "language"), expected(tensors()))

    @pytest.mark.parametrize("safe", [False, True])
    def test_a_zip_is_read_without_unpacking(self, tmp_path, safe):
        folder = write(tmp_path / "is", about_new(), tensors(), safe)
        with zipfile.ZipFile(tmp_path / "is.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"is/{path.name}")
        before = sorted(tmp_path.rglob("*"))
        check(read_adapter(tmp_path / "is.zip", OPTIONS, "language"), expected(tensors()))
        assert sorted(tmp_path.rglob("*")) == before


class TestFilesThatAreRefused:
    def test_nothing_there(self, tmp_path):
        refused(tmp_path / "none", "there is none")
        refused(tmp_path, "to hold one `adapter_config.json`, but holds 0")

    def test_two_adapters(self, tmp_path):
        write(tmp_path / "a", about_new(), tensors())
        write(tmp_path / "b", about_new(), tensors())
        refused(tmp_path, "but holds 2; name the folder of an adapter")

    def test_no_weights(self, tmp_path):
        write(tmp_path, about_new(), tensors())
        (tmp_path / "pytorch_adapter.bin").unlink()
        refused(tmp_path, "adapter.safetensors or pytorch_adapter.bin beside .* holds neither")

    @pytest.mark.parametrize("text", ["{", "[]", "\xff"])
    def test_a_config_that_is_none(self, tmp_path, text):
        write(tmp_path, about_new(), tensors())
        (tmp_path / "adapter_config.json").write_bytes(text.encode("latin1"))
        refused(tmp_path, "`adapter_config.json` in .* is expected to be (JSON|an object)")

    def test_a_pickle_that_runs_code_does_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "was_run"), "w"))

        write(tmp_path, about_new(), {"x": Evil()})
        refused(tmp_path, "tensors and nothing else, but cannot be read")
        assert not (tmp_path / "was_run").exists()

    @pytest.mark.parametrize("name", ["pytorch_adapter.bin", "adapter.safetensors"])
    def test_a_cut_file(self, tmp_path, name):
        write(tmp_path, about_new(), tensors(), safe=name.endswith("safetensors"))
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        refused(tmp_path, "tensors and nothing else, but cannot be read")

    @pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 1}, {1: torch.ones(1)}])
    def test_no_tensors_by_name(self, tmp_path, content):
        write(tmp_path, about_new(), content)
        refused(tmp_path, "tensors by name, but holds something else")

    @pytest.mark.parametrize(
        "member", ["../adapter_config.json", "/tmp/adapter_config.json", "a\\..\\..\\b"]
    )
    def test_a_zip_that_points_outside(self, tmp_path, member):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(member, "{}")
        refused(tmp_path / "x.zip", "files inside of it, but names")

    def test_a_zip_that_grows(self, tmp_path):
        """Four gigabytes of zeros would be 4 MB; a file may take a bounded multiple of the zip."""
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("adapter_config.json", " " * 4_000_000)
        refused(tmp_path / "x.zip", "expected to be an adapter, but .* takes 4,000,000; unzip")

    def test_a_file_of_torch_that_grows(self, tmp_path):
        """The same inside of a folder: torch would unpack it."""
        write(tmp_path, about_new(), {"x": torch.zeros(1_000_000)})
        with zipfile.ZipFile(tmp_path / "pytorch_adapter.bin") as archive:
            parts = {member: archive.read(member) for member in archive.namelist()}
        with zipfile.ZipFile(
            tmp_path / "pytorch_adapter.bin", "w", zipfile.ZIP_DEFLATED
        ) as archive:
            for member, content in parts.items():
                archive.writestr(member, content)
        refused(tmp_path, r"stores its parts unpacked, but \d,\d{3} bytes of it unpack to 4,00")

    @pytest.mark.parametrize(
        "views",
        [
            {"x": torch.zeros(1, dtype=torch.float16).expand(10**12)},
            {f"x{number}": torch.zeros(4000)[:] for number in range(3)},
        ],
    )
    def test_numbers_that_are_there_more_than_once(self, tmp_path, views):
        base = torch.zeros(4000)
        views = {name: base.view(-1) if name != "x" else view for name, view in views.items()}
        write(tmp_path, about_new(), views)
        refused(tmp_path, "is expected to be a tensor of finite|hold each number once, but its")

    def test_a_zip_that_is_none(self, tmp_path):
        (tmp_path / "x.zip").write_bytes(b"nothing")
        refused(tmp_path / "x.zip", "expected to be a zip, but is not")

    def test_a_zip_of_a_version_that_is_none(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("adapter_config.json", json.dumps(about_new()))
        data = bytearray((tmp_path / "x.zip").read_bytes())
        data[data.index(b"PK\1\2") + 6] = 255
        (tmp_path / "x.zip").write_bytes(data)
        refused(tmp_path / "x.zip", "to be a zip, but is not: zip file version 25.5")

    def test_a_damaged_zip(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("adapter_config.json", json.dumps(about_new()))
            archive.writestr("pytorch_adapter.bin", b"x" * 500)
        data = bytearray((tmp_path / "x.zip").read_bytes())
        data[data.index(b"x" * 500) + 250] = 0
        (tmp_path / "x.zip").write_bytes(data)
        refused(tmp_path / "x.zip", "expected to be readable, but: Bad CRC-32")
