"""What a file may have: tensors that are not the format's are neither read nor written."""

import json
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse.file_format import _plain
from ltsft.sparse.header import digest
from ltsft.sparse.layout import Layout


def signed(path, tensors, **about):
    """A file with these tensors under a right digest."""
    about = {"format_version": 2, "sft": json.loads(Metadata().to_json()), **about}
    about["digest"] = digest(about, {key: _plain(t) for key, t in tensors.items()})
    save_file(tensors, path, {"ltsft": json.dumps(about)})
    return path


ONE = {"indices/a": torch.tensor([0]), "values/a": torch.ones(1), "shape/a": torch.tensor([4])}
BYTES = {"packed_indices/a": torch.zeros(9).byte(), "packed_values/a": torch.zeros(9).byte()}
PACKED = {**BYTES, "shape/a": torch.tensor([4])}
TOLD = {"num_params": 1, "dtype": "float32"}


@pytest.mark.parametrize(
    ("tensors", "told", "message"),
    [
        ({**ONE, "whole/a": torch.ones(4)}, {}, "indices/a, shape/a, values/a, whole/a, which do"),
        ({**ONE, **BYTES}, {"a": TOLD}, "which do not belong together"),
        ({**ONE, "other/b": torch.ones(1)}, {}, "it has other/b, which do not"),
        ({**ONE, "b": torch.ones(1)}, {}, "it has b/, which do not"),
        ({**ONE, "whole/b\n": torch.ones(1)}, {}, r"cannot be printed in a line: 'whole/b\\n"),
        ({**ONE, "whole/" + "b" * 1000: torch.ones(1)}, {}, "cannot be printed in a line: "),
        ({**ONE, "shape/a": torch.tensor([-4])}, {}, "`shape/a` holds (-4,), which is no shape"),
        ({**ONE, "shape/a": torch.tensor([2**40] * 2)}, {}, r"\(1099511627776, 109951162\d+\)"),
        ({**ONE, "shape/a": torch.ones(65).long()}, {}, "has more than 64 dimensions"),
        ({**ONE, "shape/a": torch.ones(1)}, {}, "float32 and shape (1,), and no vector of int64"),
        ({**ONE, "shape/a": torch.tensor(4)}, {}, "`shape/a` is of int64 and shape (), and no vec"),
        ({**ONE, "shape/a": torch.tensor([0])}, {}, "1 entries of the 0 in a tensor of shape (0,)"),
        ({**ONE, "values/a": torch.ones(2)}, {}, "another number of positions than of values"),
        ({**ONE, "values/a": torch.ones(1).int()}, {}, "and no vector of float64 or float32 or fl"),
        ({**ONE, "indices/a": torch.zeros(1).short()}, {}, "and no vector of int32 or int64"),
        (ONE, {"a": TOLD}, "its metadata call `a` packed, which is not"),
        (ONE, [], "`packed` in its metadata is [] and no object"),
        (PACKED, {}, "`packed` in its metadata says of `a` None"),
        (PACKED, {"a": {**TOLD, "num_params": 5}}, "`a` has 5 entries of the 4"),
        (PACKED, {"a": {**TOLD, "num_params": -1}}, "`a` has -1 entries of the 4"),
        (PACKED, {"a": {**TOLD, "num_params": True}}, "says of `a` {'num_params': True"),
        (PACKED, {"a": {**TOLD, "dtype": "float8_e4m3fn"}}, "says of `a` {'num_params': 1, 'dtype"),
        (PACKED, {"a": {**TOLD, "more": 1}}, "says of `a` {'num_params': 1"),
    ],
)  # fmt: skip
def test_other_tensors(tmp_path, tensors, told, message):
    path = signed(tmp_path / "x", tensors, packed=told)
    message = message if "\\" in message else message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(LtsftError, match=message.replace("[]", r"\[\]")) as caught:
        SparseFineTuning.load(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "dtype",
    [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.uint16, torch.uint32],
)
def test_types_that_torch_cannot_compare_everywhere(tmp_path, dtype):
    """Neither read nor written."""
    head = torch.zeros(2, 3).to(dtype)
    about = {"format_version": 2, "sft": json.loads(Metadata().to_json())}
    save_file({"whole/a": head}, tmp_path / "x", {"ltsft": json.dumps(about)})
    with pytest.raises(LtsftError, match="`whole/a` is of type '[FCU]"):
        SparseFineTuning.load(tmp_path / "x")
    with pytest.raises(LtsftError, match=f"`whole/a` is of {str(dtype)[6:]}, and not float64"):
        SparseFineTuning({}, {"a": head}).save(tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_truth_values_are_0_and_1(tmp_path):
    """Others are true to some operations of torch and false to others."""
    tensors = {"whole/a": torch.tensor([0, 1, 2], dtype=torch.uint8).view(torch.bool)}
    with pytest.raises(LtsftError, match="`whole/a` has bytes that are no truth values"):
        SparseFineTuning.load(signed(tmp_path / "x", tensors))


def test_a_name_of_both_kinds_is_not_written(tmp_path):
    delta = SparseDelta((2,), torch.tensor([0]), torch.ones(1))
    both = SparseFineTuning({"a": delta}, {"a": torch.ones(2)})
    with pytest.raises(LtsftError, match="to fit its file, but: it has indices/a, shape/a, values"):
        both.save(tmp_path / "x")


class Listed(NamedTuple):
    dtype: str
    shape: tuple[int, ...]


def test_it_tells_what_is_where():
    tensors = {
        "indices/a": Listed("int32", (2,)),
        "values/a": Listed("bfloat16", (2,)),
        "shape/a": Listed("int64", (2,)),
        "packed_indices/b": Listed("uint8", (7,)),
        "packed_values/b": Listed("uint8", (8,)),
        "shape/b": Listed("int64", (1,)),
        "whole/c/d": Listed("bool", (2, 0)),
    }
    told = {"b": {"num_params": 3, "dtype": "float16"}}
    layout = Layout.of(tensors, told, {"shape/a": (2, 5), "shape/b": (9,)}.__getitem__)
    assert {n: (e.shape, len(e)) for n, e in layout.entries.items()} == {
        "a": ((2, 5), 2),
        "b": ((9,), 3),
    }
    assert layout.packed == {"b": "float16"}
    assert {n: (e.shape, e.numel()) for n, e in layout.whole.items()} == {"c/d": ((2, 0), 0)}
