"""The file: same bits back; the same bytes for the same value; every damage is refused."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse import file_format as ff
from ltsft.sparse.header import digest
from tests.sparse.test_fine_tuning import Net, sft


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
def packed(request):
    return request.param


@pytest.fixture
def saved(tmp_path, packed):
    value = sft(1, whole={"head.weight": torch.randn(3, 4)}, task="pos", labels=["Ä", "B"])
    value.save(tmp_path / "a.safetensors", packed=packed)
    return value, tmp_path / "a.safetensors"


@pytest.mark.parametrize("verify", [True, False])
def test_what_is_read_is_what_was_written(saved, verify):
    value, path = saved
    again = SparseFineTuning.load(path, verify=verify)
    assert again == value
    assert again.metadata == value.metadata


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_of_every_type_and_empty_selections(tmp_path, dtype, packed):
    value = SparseFineTuning(
        {
            "some": SparseDelta((2, 3), torch.tensor([0, 5]), torch.tensor([1, 0], dtype=dtype)),
            "none": SparseDelta((4,), torch.empty(0).long(), torch.empty(0, dtype=dtype)),
            "scalar": SparseDelta((), torch.tensor([0]), torch.ones(1, dtype=dtype)),
        }
    )
    value.save(tmp_path / "x.safetensors", packed=packed)
    assert SparseFineTuning.load(tmp_path / "x.safetensors") == value


def test_what_is_not_verified_is_read_as_it_is_used(saved, packed):
    """A digest that is wrong is not found then, and plain values are the file's own bytes."""
    value, path = saved
    content = path.read_bytes()
    damaged = content.replace(b'digest\\": \\"', b'digest\\": \\"0', 1)
    assert len(damaged) == len(content) + 1
    size = int.from_bytes(content[:8], "little")
    damaged = (size + 1).to_bytes(8, "little") + damaged[8:]
    path.write_bytes(damaged)
    with pytest.raises(LtsftError, match="was altered"):
        SparseFineTuning.load(path)
    assert SparseFineTuning.load(path, verify=False) == value


def test_the_same_value_gives_the_same_bytes(tmp_path, saved, packed):
    value, path = saved
    turned = SparseFineTuning(
        dict(reversed(value.entries.items())), dict(value.whole), value.metadata
    )
    turned.save(tmp_path / "b.safetensors", packed=packed)
    assert path.read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_reader_written_from_the_description_alone(tmp_path):
    """Dense tensors rebuilt with safetensors only, as the README tells other people to."""
    value, path = sft(1, task="pos"), tmp_path / "a.safetensors"
    value.save(path)
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["ltsft"])
    assert about["format_version"] == 2
    assert about["sft"]["task"] == "pos"
    for name, delta in value.entries.items():
        dense = torch.zeros(tuple(tensors[f"shape/{name}"]))
        dense.view(-1)[tensors[f"indices/{name}"].long()] = tensors[f"values/{name}"]
        assert torch.equal(dense, delta.dense())


def test_heads_that_share_memory_are_written(tmp_path):
    shared = torch.randn(4)
    SparseFineTuning({}, {"a": shared, "b": shared}).save(tmp_path / "x.safetensors")


def test_nothing_is_left_behind_when_writing_fails(tmp_path, saved, monkeypatch):
    value, path = saved
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(ff, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        value.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_folders_and_files_are_found(tmp_path, saved):
    value, path = saved
    value.save_pretrained(tmp_path / "run" / "sft")
    for name in (path, tmp_path / "run" / "sft", tmp_path / "run", str(tmp_path / "run")):
        assert SparseFineTuning.from_pretrained(name) == value


def test_the_hub_is_asked_for_user_slash_repo(monkeypatch, saved):
    value, path = saved
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(path)
    )
    assert SparseFineTuning.from_pretrained("someone/pos-en@v1") == value
    assert asked == [(("someone/pos-en", "sft.safetensors"), {"revision": "v1"})]


class TestRefusals:
    def refused(self, path, message):
        with pytest.raises(LtsftError, match=message):
            SparseFineTuning.load(path)

    def test_missing(self, tmp_path):
        self.refused(tmp_path / "nothing", "there is no such file|but is none")

    def test_every_cut(self, saved, tmp_path):
        """Wherever the file is cut off, it is refused."""
        content = saved[1].read_bytes()
        cut = tmp_path / "cut"
        for size in range(0, len(content), max(1, len(content) // 60)):
            cut.write_bytes(content[:size])
            self.refused(cut, "cannot be read|expected")

    def test_every_altered_byte(self, saved, tmp_path):
        """No single changed byte goes unnoticed, in header or tensors."""
        content = saved[1].read_bytes()
        altered = tmp_path / "altered"
        for position in range(0, len(content), max(1, len(content) // 150)):
            damaged = bytearray(content)
            damaged[position] ^= 1
            altered.write_bytes(damaged)
            self.refused(altered, "expected")

    def test_some_other_safetensors_file(self, tmp_path):
        save_file({"a": torch.ones(1)}, tmp_path / "x")
        self.refused(tmp_path / "x", "says nothing of one")

    def test_a_newer_format(self, tmp_path):
        save_file({}, tmp_path / "x", {"ltsft": '{"format_version": 3}'})
        self.refused(tmp_path / "x", "version 1 or 2, but has 3; update ltsft")

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            (
                {"indices/a": torch.tensor([0]), "shape/a": torch.tensor([1])},
                "has indices/a, sh",
            ),
            ({"values/a": torch.ones(1), "shape/a": torch.tensor([1])}, "has shape/a, values/a,"),
            (
                {
                    "indices/a": torch.tensor([3]),
                    "shape/a": torch.tensor([2]),
                    "values/a": torch.ones(1),
                },
                "within the 2 entries",
            ),
        ],
    )
    def test_a_hostile_file_with_a_right_digest(self, tmp_path, tensors, message):
        about = {"format_version": 2, "sft": json.loads(Metadata().to_json())}
        about["digest"] = digest(about, {key: ff._plain(t) for key, t in tensors.items()})
        save_file(tensors, tmp_path / "x", {"ltsft": json.dumps(about)})
        self.refused(tmp_path / "x", message)

    @pytest.mark.parametrize("text", ["no json", "[1]"])
    def test_a_description_that_is_none(self, tmp_path, text):
        save_file({}, tmp_path / "x", {"ltsft": text})
        self.refused(tmp_path / "x", "describe itself by a JSON object, but got")

    @pytest.mark.parametrize("text", ["no json", "[1]"])
    def test_metadata_that_is_none(self, text):
        with pytest.raises(LtsftError, match="metadata is expected to be"):
            Metadata.from_json(text)

    def test_unknown_metadata_is_kept(self):
        assert Metadata.from_json('{"task": "pos", "later": 1}').extra == {"later": 1}

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(LtsftError, match="expected to hold `sft.safetensors`"):
            SparseFineTuning.from_pretrained(tmp_path)

    def test_neither_here_nor_on_the_hub(self):
        with pytest.raises(LtsftError, match="`no/body` is expected to be a folder, a file or"):
            SparseFineTuning.from_pretrained("no/body")

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(LtsftError, match="expected to be writable"):
            sft(1, model=Net()).save(tmp_path / "file" / "x")
