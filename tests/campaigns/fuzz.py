"""Files from strangers: each is refused in one line, or is what it says and comes off bit for bit.

```
python -m tests.campaigns.fuzz --files 100000
```

Some have bytes changed (a digest no longer fits), some are signed: odd in what they say, under a
right digest. What is in a file is told by a reader of its own (:mod:`tests.campaigns.sft_files`).
"""

import argparse
import faulthandler
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltsft.commands import inspect
from ltsft.errors import LtsftError, printable
from ltsft.exchange.adapterhub import read_adapter
from ltsft.modules.adapters.insertion import insert_adapters
from ltsft.sparse import Applied, SparseFineTuning, composition
from ltsft.sparse.header import Header
from ltsft.sparse.ledger import base_digests
from tests.campaigns import adapter_files, sft_files
from tests.campaigns.oddities import change_bytes
from tests.campaigns.sft_files import MODEL, SftFile
from tests.exchange import hub
from tests.sparse.net import Net, sft
from tests.sparse.test_old_files import FOLDER

_KINDS = ["plain"] * 6 + ["packed"] * 5 + ["older"] * 3 + ["released"] + ["adapterhub"] * 4
_MAX_SECONDS = 10
_MAX_BYTES = 256 << 20
"""What one file of a few kilobytes may take at most."""


class Wrong(Exception):
    """What a file did that no file may do."""


@dataclass
class Report:
    """What became of the files.

    Args:
        counts: (kind, how it was changed, outcome) -> number of files.
        wrongs: Number of a file -> what it did.
    """

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    wrongs: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        outcomes = ["refused", "loaded, refused by the model", "loaded, applied and reverted"]
        lines = [f"{'':24}{outcomes[0]:>10}{outcomes[1]:>32}{outcomes[2]:>32}"]
        for kind, how in sorted({key[:2] for key in self.counts}):
            numbers = [self.counts[kind, how, outcome] for outcome in outcomes]
            cells = "".join(
                f"{number:>{width},}" for number, width in zip(numbers, (10, 32, 32), strict=True)
            )
            lines.append(f"{f'{kind}, {how}':24}{cells}")
        total = sum(self.counts.values()) + len(self.wrongs)
        lines.append(f"{total:,} files, {len(self.wrongs)} of them wrong")
        return "\n".join(lines)


def run(
    num_files: int, seed: int = 0, first: int = 0, say: Callable[[str], None] = print
) -> Report:
    """Make files, and look at what becomes of them.

    Args:
        num_files: How many.
        seed: Of everything; a file depends on it and on its number alone.
        first: Number of the first.
        say: Where lines go.
    """
    report, models, began = Report(), Models(), time.monotonic()
    for bombs in (sft_files.bombs, adapter_files.bombs):
        bombs()  # made now, so that their making is not counted as their reading
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + num_files):
            chance = random.Random(f"{seed}/{number}")
            kind = chance.choice(_KINDS)
            how = "bytes" if chance.random() < 0.35 else "signed"
            peak = _peak_bytes()
            try:
                with _time_limit(_MAX_SECONDS):
                    trial = _try_adapter if kind == "adapterhub" else _try_sft
                    outcome = trial(kind, how, chance, Path(folder), models)
                if (grown := _peak_bytes() - peak) > _MAX_BYTES:
                    raise Wrong(f"it took {grown >> 20:,} MiB")
                report.counts[kind, how, outcome] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a library's panic is no Exception
                where = traceback.extract_tb(error.__traceback__)[-1]
                told = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: "
                report.wrongs[number] = f"{kind}, {how}: {told}{printable(str(error))[:200]}"
                say(f"file {number}: {report.wrongs[number]}")
                models = Models()
            if (number + 1) % 10_000 == 0:
                say(f"{number + 1:,} files, {time.monotonic() - began:.0f} s")
    return report


# ------------------------------------------------------------------ fine-tunings


class Models:
    """Models to apply to, kept as long as nothing is wrong with them."""

    def __init__(self) -> None:
        self.digests = base_digests(Net(), MODEL)
        self.other = sft(1)
        self.by_kind: dict[str, nn.Module] = {
            "float32": _with_labels(),
            "bfloat16": Net(dtype=torch.bfloat16),
            "float16": Net(dtype=torch.float16),
            "float64": Net(dtype=torch.float64),
            "tied": Net(tied=True),
            "bare": _bare(),
            "strided": _strided(),
            "with NaN": _with_nan(),
        }
        self._with_adapters: dict[str, nn.Module] = {}

    def with_adapters(self) -> nn.Module:
        """A small BERT that has slots for a language and a task."""
        if not self._with_adapters:
            from transformers import AutoModelForTokenClassification, BertConfig

            config = BertConfig(
                vocab_size=30,
                hidden_size=hub.H,
                num_hidden_layers=hub.L,
                num_attention_heads=2,
                intermediate_size=24,
                num_labels=3,
            )
            model = AutoModelForTokenClassification.from_config(config)
            insert_adapters(model, hub.OPTIONS)
            self._with_adapters["model"] = model
        return self._with_adapters["model"]


def _bare() -> nn.Module:
    class Bare(nn.Module):
        base_model_prefix = "encoder"

        def __init__(self) -> None:
            super().__init__()
            net = Net()
            self.emb, self.lin = net.encoder["emb"], net.encoder["lin"]

    return Bare()


def _with_labels() -> nn.Module:
    model = Net()
    model.config = SimpleNamespace(id2label={0: "A", 1: "B", 2: "C"})
    return model


def _strided() -> nn.Module:
    model = Net()
    for layer in model.encoder.values():
        layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())
    return model


def _with_nan() -> nn.Module:
    model = Net()
    with torch.no_grad():
        model.encoder["emb"].weight[::3] = float("nan")
        model.head.bias[0] = float("nan")
    return model


def _try_sft(kind: str, how: str, chance: random.Random, folder: Path, models: Models) -> str:
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
                sft_files.change(file, chance)
        whole = file.to_bytes()
    path = folder / "x.safetensors"
    path.write_bytes(change_bytes(whole, chance) if how == "bytes" else whole)
    loaded = _or_refused(lambda: SparseFineTuning.load(path))
    if chance.random() < 0.1:
        _or_refused(lambda: SparseFineTuning.load(path, verify=False))
    if chance.random() < 0.1 or loaded is None or kind == "released":
        shown = _or_refused(lambda: _inspected(path))
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
        _use_otherwise(loaded, models, path)
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
            _numbers(delta.values), values
        ):
            raise Wrong(f"{name} is {delta.values.tolist()}")
        if len(set(indices)) != len(indices) or not np.isfinite(values).all():
            raise Wrong(f"{name} has positions twice, or numbers that are not finite")
    for name, tensor in file.whole().items():
        mine = loaded.whole[name]
        if list(mine.shape) != tensor.shape or _bits(mine) != tensor.content:
            raise Wrong(f"{name} is {mine.tolist()}")
    for key, value in file.about["sft"].items():
        now = getattr(loaded.metadata, key, None) if key != "extra" else None
        if key in vars(loaded.metadata) and key != "extra" and repr(now) != repr(value):
            raise Wrong(f"{key} is {now!r} and not {value!r}")


def _use_otherwise(loaded: SparseFineTuning, models: Models, path: Path) -> None:
    """What is loaded can be shown, saved and added, too."""
    if printable(repr(loaded)) != repr(loaded):
        raise Wrong("its repr has control characters")
    loaded.save(path)
    if SparseFineTuning.load(path) != loaded:
        raise Wrong("saved and loaded, it is another one")
    _or_refused(lambda: loaded + models.other)
    _or_refused(lambda: composition.ties([loaded.without_whole(), models.other]))


def _check_applied(
    file: SftFile, loaded: SparseFineTuning, chance: random.Random, models: Models
) -> str:
    kind = chance.choice(["float32", "float32", *models.by_kind])
    model = models.by_kind[kind]
    whole, check_base = chance.choice([None, True, False]), chance.random() < 0.4
    base = _state(model)
    way = chance.choice(["alone", "alone", "over another", "in place of another"])
    way = "alone" if kind == "tied" else way  # the other one does not fit there
    below = None if way == "alone" else models.other.apply(model, check_base=False)
    start = base if way == "in place of another" else _state(model)
    placed = _state(model)

    def put() -> Applied:
        if way == "in place of another":
            assert below is not None
            return below.switch(loaded, check_base=check_base, whole=whole)
        return loaded.apply(model, check_base=check_base, whole=whole)

    handle = _or_refused(put)
    if handle is None:
        _check_state(model, placed, "refused, it changed the model")
    else:
        _check_values(file, model, start, whole)
        handle.revert(check=chance.random() < 0.3)
        if way != "in place of another":
            _check_state(model, placed, "reverted, it left a change")
    if below is not None:
        below.revert()
    _check_state(model, base, "all reverted, something is left")
    if Applied.of(model):
        raise Wrong("something is in place still")
    return "loaded, refused by the model" if handle is None else "loaded, applied and reverted"


def _check_values(
    file: SftFile, model: nn.Module, start: dict[str, Tensor], whole: bool | None
) -> None:
    """Every number of the model is what base and file make it."""
    expected = {name: _numbers(tensor).copy() for name, tensor in start.items()}
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
        if "out.weight" in start and not np.array_equal(expected[other], _numbers(start[other])):
            expected[name] = expected[other]  # they are tied
    for name, tensor in _state(model).items():
        if not np.array_equal(_numbers(tensor), expected[name], equal_nan=True):
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


# ------------------------------------------------------------------ adapters


def _try_adapter(kind: str, how: str, chance: random.Random, root: Path, models: Models) -> str:
    files = adapter_files.specimen(chance)
    if how == "signed":
        for _ in range(chance.choice([1, 1, 1, 2])):
            adapter_files.change(files, chance)
    with tempfile.TemporaryDirectory(dir=root) as name:
        path = adapter_files.write(files, Path(name), chance, as_bytes=how == "bytes")
        loaded = _or_refused(lambda: read_adapter(path, hub.OPTIONS, files.slot))
    if loaded is None:
        return "refused"
    for name, tensor in loaded.whole.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise Wrong(f"{name} is {tensor}")
    if how == "signed":
        _check_adapter(files, loaded)
    if chance.random() < 0.1:
        _use_otherwise(loaded, models, root / "x.safetensors")
    model = models.with_adapters()
    base = _state(model)
    handle = _or_refused(lambda: loaded.apply(model, whole=chance.choice([None, True, False])))
    if handle is not None:
        state = _state(model)
        for name, tensor in loaded.whole.items():
            if "adapters" in name and not torch.equal(state[name], tensor):
                raise Wrong(f"applied, {name} is {state[name]}")
        handle.revert()
    _check_state(model, base, "something is left")
    return "loaded, refused by the model" if handle is None else "loaded, applied and reverted"


def _check_adapter(files: adapter_files.AdapterFiles, loaded: SparseFineTuning) -> None:
    prefix = "roberta." if "roberta" in files.about["model_type"] else "bert."
    name = "is" if files.slot == "language" else "ner"
    names = hub.expected(files.weights, files.slot, name, prefix)
    mine = {key: tensor for key, tensor in loaded.whole.items() if key.startswith(prefix)}
    if mine.keys() != names.keys():
        raise Wrong(f"it has {sorted(mine.keys() ^ names.keys())[:3]}")
    for key, tensor in names.items():
        if not torch.equal(mine[key], tensor.detach().float()):
            raise Wrong(f"{key} is {mine[key]}")


# ------------------------------------------------------------------ what all of them need


def _or_refused(do: Callable[[], Any]) -> Any:
    """What it returns, or ``None`` if it says in one line why not."""
    try:
        return do()
    except LtsftError as error:
        text = str(error)
        if printable(text) != text or not 20 < len(text) < 3000:
            raise Wrong(f"its message is no line: {text!r:.300}") from error
        return None


def _state(model: nn.Module) -> dict[str, Tensor]:
    tied = model.named_parameters(remove_duplicate=False)
    return {name: parameter.detach().clone() for name, parameter in tied}


def _check_state(model: nn.Module, expected: dict[str, Tensor], told: str) -> None:
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if _bits(tensor.detach()) != _bits(expected[name]):
            raise Wrong(f"{told}: {name}")


def _bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _numbers(tensor: Tensor) -> np.ndarray:
    numbers: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return numbers


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Wrong(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    """Run the campaign; status 1 if any file was wrong."""
    parser = argparse.ArgumentParser("python -m tests.campaigns.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first, to see it again")
    options = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    began = time.monotonic()
    report = run(options.files, options.seed, options.first)
    print(report)
    print(f"{time.monotonic() - began:.0f} s, peak memory {_peak_bytes() >> 20:,} MiB")
    return 1 if report.wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
