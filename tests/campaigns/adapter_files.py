"""Folders and zips of AdapterHub as strangers might make them."""

import io
import json
import random
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from tests.campaigns.oddities import change_bytes, change_somewhere, odd_value, spelled_out
from tests.exchange.hub import L, about_new, about_old, tensors

_NAMES = {True: ("adapter.safetensors", "model_head.safetensors")}
_NAMES[False] = ("pytorch_adapter.bin", "pytorch_model_head.bin")


@dataclass
class AdapterFiles:
    """What is in a folder.

    Args:
        slot: What it is an adapter of.
        about: Its config.
        weights: Its tensors, or whatever is in their place.
        head: Config and tensors of a head, of a task's adapter.
        is_safe: Whether tensors are in safetensors.
        settings: Of ``torch.save``.
        is_zip: Whether all is in a zip.
        bomb: A zip to have in its place.
    """

    slot: str
    about: Any
    weights: Any
    head: tuple[Any, Any] | None
    is_safe: bool
    settings: dict[str, Any]
    is_zip: bool
    bomb: bytes | None = None

    def parts(self) -> dict[str, bytes]:
        """Files by name."""
        names = _NAMES[self.is_safe]
        parts = {
            "adapter_config.json": _json(self.about),
            names[0]: self._tensors(self.weights),
        }
        if self.head is not None:
            parts["head_config.json"] = _json(self.head[0])
            parts[names[1]] = self._tensors(self.head[1])
        return parts

    def _tensors(self, weights: Any) -> bytes:
        if self.is_safe:
            return save_safetensors({k: t.contiguous() for k, t in weights.items()})
        file = io.BytesIO()
        torch.save(weights, file, **self.settings)
        return file.getvalue()


def specimen(chance: random.Random) -> AdapterFiles:
    """One as it occurs."""
    slot = chance.choice(["language", "language", "task"])
    is_old, is_safe = chance.random() < 0.5, chance.random() < 0.5
    prefix = chance.choice(["bert.", ""])
    if slot == "language":
        weights = tensors(prefix=prefix, old=is_old)
        about = about_old() if is_old else about_new()
        head = None
    else:
        layers = range(L - 1)
        weights = tensors("ner", prefix, is_old, task=True, layers=layers, m=4, nice=False)
        left_out = {"leave_out": [L - 1], "reduction_factor": 4}
        about = about_old("text_task", **left_out) if is_old else about_new(**left_out)
        if not is_old:
            about["config"]["inv_adapter"] = None
        about["name"] = "ner"
        config = {"head_type": "tagging", "label2id": {"O": 0, "B-X": 1, "I-X": 2}}
        linear = {
            "heads.ner.1.weight": torch.randn(3, 16),
            "heads.ner.1.bias": torch.randn(3),
        }
        head = chance.choice([None, ({"config": config}, linear)])
    settings = chance.choice([{}, {"_use_new_zipfile_serialization": False}])
    return AdapterFiles(slot, about, weights, head, is_safe, settings, chance.random() < 0.3)


def change(files: AdapterFiles, chance: random.Random) -> None:
    """Change configs or tensors, in place."""
    what = chance.randrange(10)
    if what < 3:
        change_somewhere(files.about, chance)
    elif what == 3 and files.head:
        change_somewhere(files.head[0], chance)
    elif what == 4:
        files.about = chance.choice([files.about, odd_value(chance)])
    elif what == 5 and not files.is_safe:
        files.weights = _strange(files.weights, chance)
    elif what == 6 and chance.random() < 0.2:
        files.is_zip, files.bomb = True, chance.choice(bombs())
    elif what < 9:
        _change_tensor(chance.choice([files.weights, files.head[1] if files.head else {}]), chance)


def _change_tensor(weights: Any, chance: random.Random) -> None:
    if not isinstance(weights, dict) or not weights:
        return
    key = chance.choice(list(weights))
    tensor = weights[key]
    if not isinstance(key, str) or not isinstance(tensor, torch.Tensor):
        return
    match chance.randrange(8):
        case 0:
            kinds = [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool]
            kinds += [torch.float8_e4m3fn, torch.complex64, torch.uint16]
            weights[key] = tensor.to(chance.choice(kinds))
        case 1:
            weights[key] = tensor.double().clone()
            weights[key].view(-1)[-1] = chance.choice([torch.nan, torch.inf, 1e300, -0.0, 1e-320])
        case 2:
            weights[key] = torch.zeros(chance.choice([(), (0,), (3,), (8, 16), (16, 8), (16,)]))
        case 3:
            del weights[key]
        case 4:
            other = chance.choice(["x", "", "bert.encoder.layer.999.x", f"{key}\x1b[2J", "a\nb"])
            weights[other] = weights.pop(key)
        case 5:
            parts = key.split(".")
            parts[chance.randrange(len(parts))] = chance.choice(["1", "998", "x", "", "٣", "is"])
            weights[".".join(parts)] = tensor.clone()
        case 6:
            weights[key] = tensor * 2
        case _:
            weights[key] = tensor[..., None]


def _strange(weights: Any, chance: random.Random) -> Any:
    """What a pickle can hold beside tensors by name."""
    tensors = weights.items() if isinstance(weights, dict) else ()
    plain = (key for key, value in tensors if getattr(value, "layout", None) == torch.strided)
    key = next(plain, None)
    if key is None:
        return weights
    tensor, weights = weights[key], dict(weights)
    endless: Any = ("x",)
    for _ in range(60):
        endless = (endless, endless)
    views = {
        "one number": torch.zeros(1, dtype=torch.float16).expand(10**9),
        "one number, as if it fitted": torch.zeros(1).expand(tensor.shape),
        "sparse": torch.ones(8, 16).to_sparse(),
        "meta": torch.ones(8, 16, device="meta"),
        "parameter": torch.nn.Parameter(torch.ones(8, 16)),
        "text": "x",
        "endless": endless,
        "transposed": tensor.t().contiguous().t() if tensor.dim() == 2 else tensor,
    }
    shared = torch.zeros(50_000, dtype=torch.float16)
    return chance.choice(
        [
            *({**weights, key: view} for view in views.values()),
            {**weights, 3: tensor},
            {**weights, "more": {"a": tensor}},
            {f"x{number}": shared[number:] for number in range(200)},
            [weights],
            bytearray(10),
        ]
    )


def write(files: AdapterFiles, folder: Path, chance: random.Random, *, as_bytes: bool) -> Path:
    """Write the files.

    Args:
        files: What is in them.
        folder: An empty one.
        chance: What to draw from.
        as_bytes: Change bytes of one of them, or of the zip.

    Returns:
        The folder, or the zip in it.
    """
    parts = files.parts()
    if as_bytes and not (files.is_zip and chance.random() < 0.5):
        name = chance.choice(list(parts))
        parts[name] = change_bytes(parts[name], chance)
    if not files.is_zip:
        for name, content in parts.items():
            (folder / name).write_bytes(content)
        return folder
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", chance.choice([0, zipfile.ZIP_DEFLATED])) as archive:
        for name, content in parts.items():
            archive.writestr(f"is/{name}", content)
    content = files.bomb or file.getvalue()
    path = folder / "a.zip"
    path.write_bytes(change_bytes(content, chance) if as_bytes else content)
    return path


@cache
def bombs() -> list[bytes]:
    """Zips of less than a megabyte with 400 MB in a config, or in tensors."""
    found = []
    for name in ("adapter_config.json", "pytorch_adapter.bin", "adapter.safetensors"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            if name != "adapter_config.json":
                archive.writestr("adapter_config.json", _json(about_new()))
            with archive.open(name, "w") as member:
                for _ in range(24):
                    member.write(b" " * (1 << 24))
        found.append(file.getvalue())
    return found


def _json(value: Any) -> bytes:
    return spelled_out(json.dumps(value)).encode()
