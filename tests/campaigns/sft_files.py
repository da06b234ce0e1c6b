"""Files of fine-tunings as strangers might make them, and what is in them.

Written and read here without ltsft: by the description in :mod:`ltsft.sparse.file_format` alone.
"""

import hashlib
import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
import zstandard

from tests.campaigns.oddities import spelled_out

NAMES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U8": ("uint8", 1), "BOOL": ("bool", 1), "U16": ("uint16", 2), "U32": ("uint32", 4),
    "U64": ("uint64", 8), "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
    "C64": ("complex64", 8), "F9": ("float9", 1),
}  # fmt: skip
"""Types of safetensors, as torch calls them, and their bytes; not all are allowed."""

NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}

MODEL = {"encoder.emb.weight": (20, 4), "encoder.lin.weight": (4, 4), "encoder.lin.bias": (4,)}
"""What the models are that the files are applied to; see :mod:`tests.sparse.net`."""


@dataclass
class Tensor:
    """One in a file.

    Args:
        dtype: As safetensors calls it.
        shape: What the header says.
        content: Its bytes.
    """

    dtype: str
    shape: Any
    content: bytes

    def numbers(self) -> np.ndarray:
        """What it holds; bfloat16 widened to float32."""
        if self.dtype == "BF16":
            return (np.frombuffer(self.content, "<u2").astype(np.uint32) << 16).view(np.float32)
        return np.frombuffer(self.content, NUMPY[self.dtype])


@dataclass
class SftFile:
    """What is in a file.

    Args:
        about: The description, without its digest.
        tensors: By key.
        spoil: Changes the header, as the last step before it is written.
    """

    about: Any
    tensors: dict[str, Tensor]
    spoil: Callable[[dict[str, Any]], None] | None = None
    twice: bool = field(default=False)

    def to_bytes(self) -> bytes:
        """The file, with a right digest wherever there can be one."""
        about = self.about
        if isinstance(about, dict) and "digest" not in about:
            about = {**about, "digest": self._digest()}
        text = spelled_out(json.dumps(about))
        header: dict[str, Any] = {"__metadata__": {"ltsft": text}}
        data = b""
        for key, tensor in self.tensors.items():
            offsets = [len(data), len(data) + len(tensor.content)]
            header[key] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
            data += tensor.content
        if self.spoil:
            self.spoil(header)
        written = spelled_out(json.dumps(header))
        if self.twice:  # a key that is there twice
            key = next(iter(self.tensors), "x")
            written = written[:-1] + f", {json.dumps(key)}: {json.dumps(header.get(key))}" + "}"
        return len(written.encode()).to_bytes(8, "little") + written.encode() + data

    def _digest(self) -> str:
        is_old = self.about.get("format_version") == 1
        hasher = hashlib.sha256() if is_old else xxhash.xxh3_128()
        described = self.about.get("sft") if is_old else self.about
        hasher.update(json.dumps(described, ensure_ascii=False).encode(errors="surrogatepass"))
        for key in sorted(self.tensors):
            tensor = self.tensors[key]
            shape = tensor.shape if isinstance(tensor.shape, list) else [tensor.shape]
            what = f"\n{key}\n{NAMES[tensor.dtype][0]}\n{','.join(map(str, shape))}\n"
            hasher.update(what.encode(errors="surrogatepass"))
            hasher.update(tensor.content)
        return hasher.hexdigest()

    def entries(self) -> dict[str, tuple[tuple[int, ...], np.ndarray, np.ndarray, str]]:
        """Name -> shape, positions, differences and their type, if all is as it should be."""
        found = {}
        for key in (key for key in self.tensors if key.startswith("shape/")):
            name = key.partition("/")[2]
            shape = tuple(map(int, self.tensors[key].numbers()))
            if f"indices/{name}" in self.tensors:
                indices = self.tensors[f"indices/{name}"].numbers().astype(np.int64)
                values = self.tensors[f"values/{name}"]
            else:
                indices = _positions(self.tensors[f"packed_indices/{name}"].content)
                values = _values(
                    self.tensors[f"packed_values/{name}"].content, self.about["packed"][name]
                )
            found[name] = shape, indices, values.numbers(), NAMES[values.dtype][0]
        return found

    def whole(self) -> dict[str, Tensor]:
        """Name -> what is kept whole."""
        return {k[6:]: tensor for k, tensor in self.tensors.items() if k.startswith("whole/")}


def specimen(kind: str, chance: random.Random, digests: dict[str, str]) -> SftFile:
    """A file as ltsft would write it, random in what it may vary in.

    Args:
        kind: ``plain``, ``packed`` or ``older`` (version 1).
        chance: What to draw from.
        digests: Of the model's tensors.
    """
    tensors: dict[str, Tensor] = {}
    packed = {}
    for name, shape in MODEL.items():
        if chance.random() < 0.2:
            continue
        size = int(np.prod(shape))
        indices = np.array(sorted(chance.sample(range(size), chance.randint(0, size))), dtype="<i4")
        values = np.array([chance.gauss(0, 1) for _ in indices], dtype="<f4")
        dtype = "F32" if kind == "older" else chance.choice(["F32", "F32", "F64", "F16", "BF16"])
        content = as_bytes(values, dtype)
        if kind == "packed":
            packed[name] = {"num_params": len(indices), "dtype": NAMES[dtype][0]}
            steps = steps_of(indices)
            tensors[f"packed_indices/{name}"] = compressed(steps)
            tensors[f"packed_values/{name}"] = compressed(_by_place(content, dtype))
        else:
            tensors[f"indices/{name}"] = Tensor("I32", [len(indices)], indices.tobytes())
            tensors[f"values/{name}"] = Tensor(dtype, [len(indices)], content)
        tensors[f"shape/{name}"] = shape_tensor(shape)
    if chance.random() < 0.5:
        for name, shape in {"head.weight": (3, 4), "head.bias": (3,)}.items():
            numbers = np.array([chance.gauss(0, 1) for _ in range(int(np.prod(shape)))])
            tensors[f"whole/{name}"] = Tensor("F32", list(shape), as_bytes(numbers, "F32"))
    metadata: dict[str, Any] = {
        "base_model": "net", "base_revision": None, "base_digests": dict(digests), "tied": [],
        "trained_with": [], "task": chance.choice(["pos", "masked-lm", None]), "language": "de",
        "labels": chance.choice([None, ["A", "B", "C"]]), "slots": {}, "selection": "LargestChange",
        "rounds": "Growing(1)", "rewinding": "ToStart", "num_params": 9, "num_maskable": 100,
        "num_total": 120, "phases": {"sparse": {"steps": 6, "best": 0.5}},
        "versions": {"ltsft": "1"},
        "extra": chance.choice([{}, {"note": "a\nb"}, {"composition": deepcopy(_COMPOSITION)}]),
    }  # fmt: skip
    about: dict[str, Any] = {"format_version": 1 if kind == "older" else 2, "sft": metadata}
    if packed:
        about["packed"] = packed
    return SftFile(about, tensors)


def parsed(content: bytes) -> SftFile:
    """A file that ltsft wrote, to be changed and signed again."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    about = json.loads(header.pop("__metadata__")["ltsft"])
    del about["digest"]
    tensors = {}
    for key, place in header.items():
        first, last = (start + offset for offset in place["data_offsets"])
        tensors[key] = Tensor(place["dtype"], place["shape"], content[first:last])
    return SftFile(about, tensors)


_COMPOSITION = {"method": "sum", "parts": [{"num_params": 3, "weight": 1.0, "digest": "ab"}]}


def shape_tensor(lengths: Any) -> Tensor:
    return Tensor(
        "I64", [len(lengths)], b"".join(n.to_bytes(8, "little", signed=True) for n in lengths)
    )


def as_bytes(numbers: np.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        return (numbers.astype("<f4").view(np.uint32) >> 16).astype("<u2").tobytes()
    return numbers.astype(NUMPY[dtype]).tobytes()


def steps_of(indices: np.ndarray) -> bytes:
    """Distances from one position to the next, as bytes that add up."""
    before, steps = 0, b""
    for index in map(int, indices):
        steps += b"\xff" * ((index - before) // 255) + bytes([(index - before) % 255])
        before = index
    return steps


def _positions(content: bytes) -> np.ndarray:
    at, found = 0, []
    for step in zstandard.ZstdDecompressor().decompress(content):
        at += step
        if step != 255:
            found.append(at)
    return np.array(found, dtype=np.int64)


def _by_place(content: bytes, dtype: str) -> bytes:
    size = NAMES[dtype][1]
    return b"".join(content[place::size] for place in range(size))


def _values(content: bytes, about: dict[str, Any]) -> Tensor:
    planes, number = zstandard.ZstdDecompressor().decompress(content), about["num_params"]
    dtype = next(short for short, (name, _) in NAMES.items() if name == about["dtype"])
    values = bytes(planes[p * number + n] for n in range(number) for p in range(NAMES[dtype][1]))
    return Tensor(dtype, [number], values)


def compressed(content: bytes) -> Tensor:
    packed = zstandard.ZstdCompressor(level=1).compress(content)
    return Tensor("U8", [len(packed)], packed)
