"""Files of an adapter are made, read, applied and reverted."""

import random
import tempfile
from pathlib import Path

import torch

from ltsft.exchange.adapterhub import read_adapter
from ltsft.sparse import SparseFineTuning
from tests.campaigns import adapter_files
from tests.campaigns.judging import Wrong, check_state, or_refused, state_of, use_otherwise
from tests.campaigns.models import Models
from tests.exchange import hub


def try_adapter(kind: str, how: str, chance: random.Random, root: Path, models: Models) -> str:
    files = adapter_files.specimen(chance)
    if how == "signed":
        for _ in range(chance.choice([1, 1, 1, 2])):
            adapter_files.change(files, chance)
    with tempfile.TemporaryDirectory(dir=root) as name:
        path = adapter_files.write(files, Path(name), chance, as_bytes=how == "bytes")
        loaded = or_refused(lambda: read_adapter(path, hub.OPTIONS, files.slot))
    if loaded is None:
        return "refused"
    for name, tensor in loaded.whole.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise Wrong(f"{name} is {tensor}")
    if how == "signed":
        _check_adapter(files, loaded)
    if chance.random() < 0.1:
        use_otherwise(loaded, models, root / "x.safetensors")
    model = models.with_adapters()
    base = state_of(model)
    handle = or_refused(lambda: loaded.apply(model, whole=chance.choice([None, True, False])))
    if handle is not None:
        state = state_of(model)
        for name, tensor in loaded.whole.items():
            if "adapters" in name and not torch.equal(state[name], tensor):
                raise Wrong(f"applied, {name} is {state[name]}")
        handle.revert()
    check_state(model, base, "something is left")
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
