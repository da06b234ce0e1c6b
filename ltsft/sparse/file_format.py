"""The file of a sparse fine-tuning: one safetensors file.

Tensors, for each parameter ``NAME``:

* ``indices/NAME``: flat row-major positions of the selected entries, strictly increasing, [K].
  int32, or int64 if the parameter has 2³¹ entries or more.
* ``values/NAME``: the differences at those positions, floating point, [K]. Every selected position
  is there, also where the difference is 0.
* ``shape/NAME``: the parameter's shape, int64.
* ``whole/NAME``: a tensor kept whole (heads, adapters); its value, not a difference.

In a packed file ``packed_indices/NAME`` and ``packed_values/NAME`` stand in place of the first two,
uint8, as :mod:`ltsft.sparse.packing` makes them. There is nothing else in a file.

Metadata: one string under the key ``ltsft``, a JSON object with ``format_version`` (the number 2),
``digest`` (that :func:`ltsft.sparse.header.digest` defines), ``sft`` (the object of
:class:`~ltsft.sparse.metadata.Metadata`) and, of a packed file, ``packed`` (parameter ->
``num_params``, its K, and ``dtype`` of its values). One key, because safetensors writes several in
random order, and the same value is to give the same bytes. Version 1 knew no packed files, and its
digests are SHA-256.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ltsft.atomic import whole_file
from ltsft.errors import LtsftError
from ltsft.sparse.delta import Parts, SparseDelta
from ltsft.sparse.guarded_json import read_json
from ltsft.sparse.header import FORMAT_VERSION, Header, Plain, digest, off_format, unreadable
from ltsft.sparse.layout import Layout
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.packing import pack, unpack
from ltsft.sparse.same import raw


def save(sft: Parts, path: Path, packed: bool = False) -> None:
    """Write `sft` to `path`.

    Args:
        sft: What to write.
        path: Of the file.
        packed: In about half of the bytes, which takes longer to write and to read.

    Raises:
        LtsftError: If it is a folder, or cannot be written; or if it is nothing that could be read
            again.
    """
    if path.is_dir():
        raise LtsftError(
            f"`path` is expected to be a file, but {path} is a folder; write "
            f"`sft.save_pretrained({str(path)!r})`."
        )
    tensors: dict[str, Tensor] = {}
    told: dict[str, dict[str, Any]] = {}  # what metadata say of packed entries
    for name, delta in sorted(sft.entries.items()):
        if packed and (both := pack(delta)):
            tensors[f"packed_indices/{name}"], tensors[f"packed_values/{name}"] = both
            told[name] = {"num_params": len(delta), "dtype": _name(delta.values.dtype)}
        else:
            tensors[f"indices/{name}"] = delta.indices.contiguous()
            tensors[f"values/{name}"] = delta.values.contiguous()
        tensors[f"shape/{name}"] = torch.tensor(delta.shape, dtype=torch.int64)
    # Clones: heads may share memory, which safetensors refuses.
    tensors |= {f"whole/{name}": t.detach().cpu().clone() for name, t in sft.whole.items()}
    plain = {key: _plain(tensor) for key, tensor in tensors.items()}
    about: dict[str, Any] = {"format_version": FORMAT_VERSION, "sft": _described(sft.metadata)}
    if told:
        about["packed"] = told
    try:
        Layout.of(plain, told, lambda key: tuple(tensors[key].tolist()))
    except ValueError as error:
        raise LtsftError(f"a fine-tuning is expected to fit its file, but: {error}.") from error
    about["digest"] = digest(about, plain)
    header = {"ltsft": json.dumps(about, ensure_ascii=False)}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, header)


def load(
    path: Path, verify: bool = True
) -> tuple[dict[str, SparseDelta], dict[str, Tensor], Metadata]:
    """Read and check a file; a file from anywhere is hostile until checked.

    Args:
        path: Of the file.
        verify: Look at all of it. Otherwise entries that are not packed are taken as they are,
            and are read from the disk as they are used.

    Returns:
        Selected entries and whole tensors by parameter name, and the metadata.

    Raises:
        LtsftError: If the file is missing, cut, altered, of another format or a newer version.
    """
    header = Header.read(path)
    if verify:
        header.check_digest()
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from error
    delta = SparseDelta if verify else SparseDelta.unchecked
    entries = {}
    for name, extent in header.entries.items():
        try:
            if name in header.layout.packed:
                entries[name] = unpack(
                    extent.shape,
                    len(extent),
                    tensors[f"packed_indices/{name}"],
                    tensors[f"packed_values/{name}"],
                    getattr(torch, header.layout.packed[name]),
                )
            else:
                entries[name] = delta(
                    extent.shape, tensors[f"indices/{name}"], tensors[f"values/{name}"]
                )
        except LtsftError as error:
            raise off_format(path, error) from error
    whole = {name: tensors[f"whole/{name}"] for name in header.whole}
    for name, tensor in whole.items():
        if tensor.dtype == torch.bool and bool((raw(tensor) > 1).any()):
            raise off_format(path, ValueError(f"`whole/{name}` has bytes that are no truth values"))
    return entries, whole, header.metadata


def _described(metadata: Metadata) -> Any:
    """JSON values that can be read again."""
    try:
        values = read_json(metadata.to_json())
    except (TypeError, ValueError) as error:
        raise LtsftError(
            f"metadata is expected to be what JSON can hold (texts, numbers, lists), but: {error}."
        ) from error
    Metadata.from_values(values)
    return values


def _plain(tensor: Tensor) -> Plain:
    return Plain(_name(tensor.dtype), tuple(tensor.shape), raw(tensor).numpy().data)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
