"""A file of a fine-tuning is made, read, applied and reverted."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ltsft.commands import inspect
from ltsft.errors import printable
from ltsft.sparse import Applied, SparseFineTuning
from ltsft.sparse.header import Header
from tests.campaigns import sft_changes, sft_files
from tests.campaigns.judging import (
    Wrong,
    bits_of,
    check_state,
    numbers_of,
    or_refused,
    state_of,
    use_otherwise,
)
from tests.campaigns.models import Models
from tests.campaigns.oddities import change_bytes
from tests.campaigns.sft_files import SftFile
from tests.sparse.test_old_files import FOLDER


def try_sft(kind: str, how: str, chance: random.Random, folder: Path, models: Models) -> str:
    file: SftFile | None = None
    if kind == "released":
        source = chance.choice(sorted(FOLDER.iterdir()))
        whole = source.read_bytes()
        file = sft_files.parsed(whole) if how == "signed" else None
    else:
        file = sft_files.specimen(kind, chance, models.digests)
    if file is not None:
        if how == "signed":
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                sft_changes.change(file, chance)
        whole = file.to_bytes()
    path = folder / "x.safetensors"
    path.write_bytes(change_bytes(whole, chance) if how == "bytes" else whole)
    loaded = or_refused(lambda: SparseFineTuning.load(path))
    if chance.random() < 0.1:
        or_refused(lambda: SparseFineTuning.load(path, verify=False))
    if chance.random() < 0.1 or loaded is None or kind == "released":
        shown = or_refused(lambda: _inspected(path))
        if shown is not None and printable(shown, keep="\n") != shown:
            raise Wrong("what is shown of it has control characters")
    if loaded is None:
        return "refused"
    if file is None:
        if loaded != SparseFineTuning.load(source):
            raise Wrong("it is not what was released")
        return "loaded, refused by the model"
    _check_loaded(file, loaded)
    if chance.random() < 0.1:
        use_otherwise(loaded, models, path)
    return _check_applied(file, loaded, chance, models)


def _inspected(path: Path) -> str:
    header = Header.read(path)
    header.check_digest()
    return inspect.as_text("x", inspect.describe(header), show_all=True)


def _check_loaded(file: SftFile, loaded: SparseFineTuning) -> None:
    entries = file.entries()
    if loaded.entries.keys() != entries.keys() or loaded.whole.keys() != file.whole().keys():
        raise Wrong(f"it has {sorted(loaded.entries)} and {sorted(loaded.whole)}")
    for name, (shape, indices, values, dtype) in entries.items():
        delta = loaded.entries[name]
        if tuple(delta.shape) != shape or delta.indices.tolist() != indices.tolist():
            raise Wrong(f"{name} is at {delta.indices.tolist()}")
        if str(delta.values.dtype) != f"torch.{dtype}" or not np.array_equal(
            numbers_of(delta.values), values
        ):
            raise Wrong(f"{name} is {delta.values.tolist()}")
        if len(set(indices)) != len(indices) or not np.isfinite(values).all():
            raise Wrong(f"{name} has positions twice, or numbers that are not finite")
    for name, tensor in file.whole().items():
        mine = loaded.whole[name]
        if list(mine.shape) != tensor.shape or bits_of(mine) != tensor.content:
            raise Wrong(f"{name} is {mine.tolist()}")
    for key, value in file.about["sft"].items():
        now = getattr(loaded.metadata, key, None) if key != "extra" else None
        if key in vars(loaded.metadata) and key != "extra" and repr(now) != repr(value):
            raise Wrong(f"{key} is {now!r} and not {value!r}")
    texts = _all_texts(vars(loaded.metadata))
    if {unicodedata.category(c) for c in texts if c not in "\n\t"} & {"Cc", "Cs"}:
        raise Wrong("its metadata have control characters")


def _all_texts(value: object) -> str:
    if isinstance(value, dict):
        return "".join(map(_all_texts, [*value, *value.values()]))
    if isinstance(value, list):
        return "".join(map(_all_texts, value))
    return value if isinstance(value, str) else ""


def _check_applied(
    file: SftFile, loaded: SparseFineTuning, chance: random.Random, models: Models
) -> str:
    kind = chance.choice(["float32", "float32", *models.by_kind])
    model = models.by_kind[kind]
    whole, check_base = chance.choice([None, True, False]), chance.random() < 0.4
    base = state_of(model)
    way = chance.choice(["alone", "alone", "over another", "in place of another"])
    way = "alone" if kind == "tied" else way  # the other one does not fit there
    below = None if way == "alone" else models.other.apply(model, check_base=False)
    start = base if way == "in place of another" else state_of(model)
    placed = state_of(model)

    def put() -> Applied:
        if way == "in place of another":
            assert below is not None
            return below.switch(loaded, check_base=check_base, whole=whole)
        return loaded.apply(model, check_base=check_base, whole=whole)

    handle = or_refused(put)
    if handle is None:
        check_state(model, placed, "refused, it changed the model")
    else:
        _check_values(file, model, start, whole)
        handle.revert(check=chance.random() < 0.3)
        if way != "in place of another":
            check_state(model, placed, "reverted, it left a change")
    if below is not None:
        below.revert()
    check_state(model, base, "all reverted, something is left")
    if Applied.of(model):
        raise Wrong("something is in place still")
    return "loaded, refused by the model" if handle is None else "loaded, applied and reverted"


def _check_values(
    file: SftFile, model: nn.Module, start: dict[str, Tensor], whole: bool | None
) -> None:
    """Every number of the model is what base and file make it."""
    expected = {name: numbers_of(tensor).copy() for name, tensor in start.items()}
    for name, (_, indices, values, _) in file.entries().items():
        inside = name if name in start else name.removeprefix("encoder.")
        flat = expected[inside].reshape(-1)
        wide = np.result_type(flat.dtype, values.dtype, np.float32)
        with np.errstate(all="ignore"):
            total = flat[indices].astype(wide) + values.astype(wide)
        flat[indices] = _rounded(total, start[inside].dtype)
        expected[inside] = flat.reshape(expected[inside].shape)
    for name, tensor in file.whole().items():
        inside = name if name in start else name.removeprefix("encoder.")
        if inside in start and (whole is not False or name.startswith("encoder.")):
            numbers = tensor.numbers().reshape(tensor.shape)
            expected[inside] = _rounded(numbers, start[inside].dtype)
    for name, other in (("out.weight", "encoder.emb.weight"), ("encoder.emb.weight", "out.weight")):
        if "out.weight" in start and not np.array_equal(expected[other], numbers_of(start[other])):
            expected[name] = expected[other]  # they are tied
    for name, tensor in state_of(model).items():
        if not np.array_equal(numbers_of(tensor), expected[name], equal_nan=True):
            raise Wrong(f"applied, {name} is {tensor.tolist()}")


def _rounded(numbers: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """To a type, by way of float32 to one of 16 bits, as torch does; bfloat16 stays in float32."""
    with np.errstate(all="ignore"):
        if dtype == torch.float64:
            return numbers.astype(np.float64)
        single = numbers.astype(np.float32)
        if dtype == torch.float32:
            return single
        if dtype == torch.float16:
            return single.astype(np.float16)
        bits = single.view(np.uint32).astype(np.uint64)
        even = bits + 0x7FFF + ((bits >> 16) & 1)
        rounded = (even & 0xFFFF0000).astype(np.uint32).view(np.float32)
        return np.where(np.isnan(single), single, rounded)
