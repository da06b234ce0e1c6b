"""The files that were published with Ansell et al. (2022): ``pytorch_diff.bin``."""

import re
import reprlib
from collections.abc import Mapping
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from ltsft.data.labels import NLI, RELATIONS
from ltsft.errors import LtsftError
from ltsft.exchange.torch_file import check_plain, read_torch_file
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse.metadata import LANGUAGE_TASK

FILE_NAME = "pytorch_diff.bin"

_NAMED = re.compile(r"(mbert|xlmr)-(lang|task)-sft-([a-z]+)(-[a-z0-9-]+)?")
"""How the authors' repositories are called, e.g. ``cambridgeltl/mbert-lang-sft-hsb-small``."""

_BASES = {"mbert": "bert-base-multilingual-cased", "xlmr": "xlm-roberta-base"}

_OUTPUTS = ("classifier.bias", "biaffine_rels.weight")
"""Tensors with a row for each label."""

_LABELS = {"dp": ["_", *RELATIONS], "nli": NLI}
"""Where the number of an output says what it stands for; of other tasks the files do not tell."""


def describe(name: str) -> Metadata:
    """What the name of a repository or folder tells: base model, and language or task.

    Example:
        >>> describe("cambridgeltl/mbert-lang-sft-hsb-small").language
        'hsb'
        >>> describe("cambridgeltl/xlmr-task-sft-nli").labels
        ['entailment', 'neutral', 'contradiction']
    """
    match = _NAMED.fullmatch(Path(name.partition("@")[0]).name)
    if match is None:
        return Metadata()
    base, kind, what, _ = match.groups()
    if kind == "lang":
        return Metadata(base_model=_BASES[base], task=LANGUAGE_TASK, language=what)
    return Metadata(base_model=_BASES[base], task=what, labels=_LABELS.get(what))


def read_published(path: Path, metadata: Metadata) -> SparseFineTuning:
    """Read ``pytorch_diff.bin``: ``{"diffs": {name: entry}, "abs": {name: tensor}}``.

    An entry is ``{"size", "index_steps", "values"}``: the running sum of `index_steps` gives flat
    positions in *column-major* order (first axis fastest), strictly increasing. Or it is a dense
    difference, of which every number that is not 0 is kept. `abs` holds heads. Either key may be
    missing. What is read is exactly what is in the file; its values keep their type.

    The file does not say what it was trained on, nor are there digests of the base model.

    Args:
        path: Of the file.
        metadata: What is known about it.

    Raises:
        LtsftError: If it is anything else; no code in it runs.
    """
    content = read_torch_file(path, _numpy_integers())
    if not isinstance(content, dict) or not content.keys() <= {"diffs", "abs"} or not content:
        raise LtsftError(f"`{path}` is expected to hold `diffs` and `abs`, but does not.")
    diffs, whole = (content.get(key, {}) for key in ("diffs", "abs"))
    for part in (diffs, whole):
        if not isinstance(part, dict) or not all(isinstance(name, str) for name in part):
            raise LtsftError(
                f"`{path}` is expected to have names of parameters in `diffs` and `abs`, but does "
                "not."
            )
    if both := sorted(diffs.keys() & whole.keys()):
        raise LtsftError(
            f"`{path}` is expected to have each parameter in `diffs` or in `abs`, but has "
            f"`{both[0]:.80}` in both."
        )
    for name in (name for name in _OUTPUTS if name in whole and metadata.labels is not None):
        rows = len(check_plain(name, whole[name]))
        if rows != len(metadata.labels or []):
            raise LtsftError(
                f"the labels are expected to be {rows}, one for each row of `{name}` in {path}, "
                f"but got {len(metadata.labels or [])}."
            )
    entries = {name: _entries(f"{path}: {name:.80}", entry) for name, entry in diffs.items()}
    num_params = sum(map(len, entries.values()))
    return SparseFineTuning(
        entries,
        {name: check_plain(f"{path}: {name:.80}", tensor) for name, tensor in whole.items()},
        Metadata(**vars(metadata) | {"num_params": num_params}),
    )


def _entries(where: str, entry: object) -> SparseDelta:
    if isinstance(entry, Tensor):
        return _dense(check_plain(where, entry))
    if not isinstance(entry, Mapping) or entry.keys() != {"size", "index_steps", "values"}:
        raise LtsftError(
            f"`{where}` is expected to have `size`, `index_steps` and `values`, or to be a tensor, "
            "but is something else."
        )
    size, steps = entry["size"], entry["index_steps"]
    values = check_plain(where, entry["values"])
    if not isinstance(size, tuple) or not all(type(n) is int and n >= 0 for n in size):
        raise LtsftError(
            f"`{where}` is expected to have a shape for `size`, but got {reprlib.repr(size)}."
        )
    if not isinstance(steps, list) or not {type(step) for step in steps} <= {int, numpy.int64}:
        raise LtsftError(f"`{where}` is expected to list whole numbers in `index_steps`.")
    num_entries = prod(size)
    if len(steps) != len(values) or values.dim() != 1 or not values.is_floating_point():
        raise LtsftError(
            f"`{where}` is expected to have a number for each of {len(steps):,} positions, but has "
            f"{values.dtype} of shape {tuple(values.shape)}."
        )
    ups = [int(step) for step in steps]
    if not ups:
        return SparseDelta(tuple(size), torch.zeros(0, dtype=torch.int64), values)
    too_far = sum(ups) >= min(num_entries, 2**63)
    if ups[0] < 0 or min(ups[1:], default=1) < 1 or too_far:
        raise LtsftError(
            f"`{where}` is expected to have increasing positions within its {num_entries:,} "
            "entries, but has others."
        )
    positions = torch.tensor(list(accumulate(ups)), dtype=torch.int64)
    # First axis fastest there, last axis fastest here.
    rest, flat, stride = positions, torch.zeros_like(positions), num_entries
    for length in size:
        stride //= length
        flat += (rest % length) * stride
        rest = rest // length
    flat, order = flat.sort()
    return SparseDelta(tuple(size), flat, values[order])


def _dense(difference: Tensor) -> SparseDelta:
    flat = difference.reshape(-1)
    (positions,) = flat.nonzero(as_tuple=True)
    return SparseDelta(tuple(difference.shape), positions, flat[positions])


def _numpy_integers() -> list[Any]:
    """What the first of the steps, a ``numpy.int64``, is made of; by its names before 2.0 too."""
    try:
        from numpy._core.multiarray import scalar
    except ImportError:  # numpy 1
        from numpy.core.multiarray import scalar  # type: ignore[no-redef]
    return [
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),
        numpy.dtype,
        numpy.dtypes.Int64DType,
    ]
