"""``pytorch_diff.bin``, written as the authors' code does, comes back number for number."""

import os
import zipfile
from pathlib import Path

import numpy
import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.exchange.published import describe, read_published
from ltsft.sparse import Metadata

SHAPES = {"bert.a.weight": (5, 7), "bert.a.bias": (6,), "bert.b.weight": (2, 3, 4)}


def encode(difference, mask):
    """An entry of `diffs`: flat positions in column-major order, as steps, and their values."""
    flat = difference.numpy().flatten(order="F")
    (positions,) = mask.numpy().flatten(order="F").nonzero()
    steps = numpy.diff(positions, prepend=0)
    return {
        "size": torch.Size(difference.shape),
        "index_steps": [steps[0], *map(int, steps[1:])] if len(steps) else [],
        "values": torch.tensor(flat[positions]),
    }


@pytest.fixture
def dense():
    torch.manual_seed(0)
    return {name: torch.randn(shape) * (torch.rand(shape) < 0.4) for name, shape in SHAPES.items()}


def saved(content) -> Path:
    torch.save(content, "pytorch_diff.bin")
    return Path("pytorch_diff.bin")


def rename_numpy(path: Path, old: bytes, new: bytes) -> None:
    """Have the file name numpy's parts as another version of numpy does."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data.replace(old, new) if name.endswith(".pkl") else data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("names", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_it_comes_back_number_for_number(dense, dtype, names):
    head = {"classifier.weight": torch.randn(3, 4), "classifier.bias": torch.randn(3)}
    dense = {name: value.to(dtype) for name, value in dense.items()}
    diffs = {name: encode(value, value != 0) for name, value in dense.items()}
    assert type(diffs["bert.a.weight"]["index_steps"][0]) is numpy.int64
    path = saved({"diffs": diffs, "abs": head})
    for written in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        rename_numpy(path, written + b"\n", names + b"\n")
    sft = read_published(path, Metadata(task="pos"))
    assert sft.entries.keys() == dense.keys()
    for name, value in dense.items():
        assert sft.entries[name].values.dtype == dtype
        assert torch.equal(sft.entries[name].dense(), value)
    assert (
        sft.num_params == sft.metadata.num_params == sum(map(torch.count_nonzero, dense.values()))
    )
    assert sft.whole.keys() == head.keys()
    assert all(torch.equal(sft.whole[name], value) for name, value in head.items())


def test_selected_entries_whose_difference_is_0_stay():
    value = torch.zeros(3, 2)
    mask = torch.tensor([[True, False], [False, False], [True, True]])
    sft = read_published(saved({"diffs": {"x": encode(value, mask)}}), Metadata())
    assert sft.entries["x"].indices.tolist() == [0, 4, 5]


def test_empty_entries_dense_ones_and_missing_parts(dense):
    name, value = next(iter(dense.items()))
    none = encode(value, torch.zeros_like(value, dtype=torch.bool))
    sft = read_published(saved({"diffs": {"empty": none, name: value}}), Metadata())
    assert len(sft.entries["empty"]) == 0
    assert torch.equal(sft.entries[name].dense(), value)
    sft = read_published(saved({"abs": {"head": torch.ones(2)}}), Metadata())
    assert sft.num_params == 0


def test_it_survives_our_own_file(dense):
    diffs = {name: encode(value, value != 0) for name, value in dense.items()}
    sft = read_published(saved({"diffs": diffs}), describe("mbert-lang-sft-hsb-small"))
    sft.save_pretrained("ours")
    again = type(sft).from_pretrained("ours")
    assert again.entries == sft.entries
    assert again.metadata.language == "hsb"


def entry(size=(2, 3), steps=(1, 2), values=(1.0, 2.0)):
    return {
        "size": torch.Size(size) if isinstance(size, tuple) else size,
        "index_steps": list(steps) if isinstance(steps, tuple) else steps,
        "values": torch.tensor(values) if isinstance(values, tuple) else values,
    }


HOSTILE = {
    "a list": ([1], "expected to hold `diffs` and `abs`"),
    "another key": ({"diffs": {}, "x": 1}, "expected to hold `diffs` and `abs`"),
    "numbers for names": ({"diffs": {1: entry()}}, "expected to have names of parameters"),
    "no mapping": ({"abs": [1]}, "expected to have names of parameters"),
    "in both": ({"diffs": {"x": entry()}, "abs": {"x": torch.ones(1)}}, "`x` in both"),
    "a key too few": ({"diffs": {"x": {"size": (1,)}}}, "expected to have `size`"),
    "a negative size": ({"diffs": {"x": entry(size=[-2, 3])}}, "expected to have a shape"),
    "text for a step": ({"diffs": {"x": entry(steps=("a", 1))}}, "list whole numbers"),
    "a tensor of steps": ({"diffs": {"x": entry(steps=torch.ones(2))}}, "list whole numbers"),
    "more steps than values": ({"diffs": {"x": entry(steps=(1, 1, 1))}}, "for each of 3 positions"),
    "whole values": ({"diffs": {"x": entry(values=(1, 2))}}, "for each of 2 positions"),
    "not finite": ({"diffs": {"x": entry(values=(1.0, float("nan")))}}, "of finite numbers"),
    "a step of 0": ({"diffs": {"x": entry(steps=(1, 0))}}, "increasing positions"),
    "before the first": ({"diffs": {"x": entry(steps=(-1, 2))}}, "increasing positions"),
    "behind the last": ({"diffs": {"x": entry(steps=(1, 5))}}, "increasing positions within its 6"),
    "a huge step": ({"diffs": {"x": entry(steps=(1, 10**4000))}}, "cannot be read"),
    "a huge size": ({"diffs": {"x": entry((2**40, 2**40), (1, 2**63))}}, "increasing positions"),
    "an empty size": ({"diffs": {"x": entry(size=(0, 3))}}, "increasing positions within its 0"),
    "a view": (
        {"diffs": {"x": entry(values=torch.zeros(1).expand(10**11))}},
        "tensor of finite numbers",
    ),
    "a head that is a view": (
        {"abs": {"x": torch.zeros(1).expand(10**11)}},
        "tensor of finite numbers",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_anything_else_is_refused_in_one_line(case):
    content, message = HOSTILE[case]
    with pytest.raises(LtsftError, match=message) as caught:
        read_published(saved(content), Metadata())
    assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made",)


def test_no_code_runs():
    with pytest.raises(LtsftError, match="with tensors and plain values"):
        read_published(saved({"diffs": {"x": Evil()}}), Metadata())
    assert not Path("made").exists()


def test_labels_are_as_many_as_outputs():
    content = {"abs": {"biaffine_rels.weight": torch.zeros(38, 3, 3)}}
    about = describe("cambridgeltl/mbert-task-sft-dp")
    assert (about.task, about.base_model) == ("dp", "bert-base-multilingual-cased")
    assert len(read_published(saved(content), about).metadata.labels) == 38
    content = {"abs": {"classifier.bias": torch.zeros(2)}}
    with pytest.raises(LtsftError, match=r"labels are expected to be 2, .* but got 3"):
        read_published(saved(content), describe("xlmr-task-sft-nli-ms"))
    assert describe("some/other") == Metadata()
