"""Files of fine-tunings as strangers might make them, and what is in them.

Written and read here without ltsft: by the description in :mod:`ltsft.sparse.file_format` alone.
"""

import hashlib
import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import xxhash
import zstandard

from tests.campaigns.oddities import change_somewhere, odd_value, spelled_out

NAMES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U8": ("uint8", 1), "BOOL": ("bool", 1), "U16": ("uint16", 2), "U32": ("uint32", 4),
    "U64": ("uint64", 8), "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
    "C64": ("complex64", 8), "F9": ("float9", 1),
}  # fmt: skip
"""Types of safetensors, as torch calls them, and their bytes; not all are allowed."""

_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}

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
        return np.frombuffer(self.content, _NUMPY[self.dtype])


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
        content = _as_bytes(values, dtype)
        if kind == "packed":
            packed[name] = {"num_params": len(indices), "dtype": NAMES[dtype][0]}
            steps = _steps(indices)
            tensors[f"packed_indices/{name}"] = _compressed(steps)
            tensors[f"packed_values/{name}"] = _compressed(_by_place(content, dtype))
        else:
            tensors[f"indices/{name}"] = Tensor("I32", [len(indices)], indices.tobytes())
            tensors[f"values/{name}"] = Tensor(dtype, [len(indices)], content)
        tensors[f"shape/{name}"] = _shape(shape)
    if chance.random() < 0.5:
        for name, shape in {"head.weight": (3, 4), "head.bias": (3,)}.items():
            numbers = np.array([chance.gauss(0, 1) for _ in range(int(np.prod(shape)))])
            tensors[f"whole/{name}"] = Tensor("F32", list(shape), _as_bytes(numbers, "F32"))
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


# ------------------------------------------------------------------ what a stranger changes


def change(file: SftFile, chance: random.Random) -> None:
    """Change something, in place; the digest is made for what it is then."""
    chance.choice(_CHANGES)(file, chance)


def _metadata(file: SftFile, chance: random.Random) -> None:
    if isinstance(file.about, dict) and isinstance(file.about.get("sft"), dict):
        change_somewhere(file.about["sft"], chance)


def _about(file: SftFile, chance: random.Random) -> None:
    if isinstance(file.about, dict):
        change_somewhere(file.about, chance)
    if chance.random() < 0.02:
        file.about = odd_value(chance)


def _another_version(file: SftFile, chance: random.Random) -> None:
    if isinstance(file.about, dict):
        file.about["format_version"] = chance.choice([1, 2, 3, 1.0, 2.0, True, "2", None, [2], -1])


def _values_of(file: SftFile, chance: random.Random) -> None:
    """Numbers of another kind in the same place."""
    key = _pick(file, chance, ("values/", "whole/"))
    if key is None or file.tensors[key].dtype not in ("F64", "F32", "F16", "BF16"):
        return
    tensor = file.tensors[key]
    numbers = tensor.numbers().astype(np.float64)
    if not len(numbers):
        return
    with np.errstate(all="ignore"):
        numbers[chance.randrange(len(numbers))] = chance.choice(
            [np.nan, np.inf, -np.inf, 1e300, 3e38, 65_000.0, -0.0, 1e-320, 1e-40, 0.0]
        )
        tensor.content = _as_bytes(numbers, tensor.dtype)


def _positions_of(file: SftFile, chance: random.Random) -> None:
    key = _pick(file, chance, ("indices/",))
    if key is None or not file.tensors[key].content or file.tensors[key].dtype not in _NUMPY:
        return
    numbers = file.tensors[key].numbers().copy()
    at = chance.randrange(len(numbers))
    odd = [0, -1, 1, 79, 80, 81, 2**31 - 1, -(2**31), numbers[0], numbers[-1]]
    numbers[at] = chance.choice(odd)
    if chance.random() < 0.2:
        chance.shuffle(numbers)
    file.tensors[key].content = numbers.tobytes()


def _shape_of(file: SftFile, chance: random.Random) -> None:
    key = _pick(file, chance, ("shape/",))
    if key is not None:
        odd = [[-1, 5], [2**40, 2**40], [4, 20], [80], [0], [], [2**62, 2], [1] * 70, [20, 4, 1]]
        file.tensors[key] = _shape(chance.choice(odd))
        if chance.random() < 0.2:
            file.tensors[key].dtype = chance.choice(["F64", "U64"])


def _dtype_of(file: SftFile, chance: random.Random) -> None:
    """Another type, of the same bytes or of the same numbers."""
    key = _pick(file, chance)
    if key is None:
        return
    tensor, dtype = file.tensors[key], chance.choice(list(NAMES))
    if isinstance(tensor.shape, list) and tensor.shape and chance.random() < 0.8:
        size = NAMES[dtype][1]
        if chance.random() < 0.5 and len(tensor.content) % size == 0:
            tensor.shape = [len(tensor.content) // size]
        else:
            tensor.content = chance.randbytes(int(np.prod(tensor.shape, dtype=object)) % 999 * size)
    tensor.dtype = dtype


def _header_of(file: SftFile, chance: random.Random) -> None:
    """What the header says of a tensor."""
    key = _pick(file, chance)
    if key is None:
        return
    place = chance.choice(["shape", "data_offsets", "dtype", "more", "all", "metadata"])

    def spoil(header: dict[str, Any]) -> None:
        odd = odd_value(chance)
        if key not in header:  # another change renamed it
            return
        if place == "all":
            header[key] = odd
        elif place == "metadata":
            header["__metadata__"] = chance.choice([odd, {"ltsft": odd}, {"other": "x"}])
        elif place in ("shape", "data_offsets") and chance.random() < 0.8:
            numbers = header[key][place]
            if isinstance(numbers, list) and numbers:
                at = chance.randrange(len(numbers))
                numbers[at] = chance.choice([-1, 0, 2**40, numbers[at] + 1, 1.0, True, odd])
        else:
            header[key][place] = odd

    file.spoil = spoil


def _key_twice(file: SftFile, chance: random.Random) -> None:
    file.twice = True


def _leave_out(file: SftFile, chance: random.Random) -> None:
    key = _pick(file, chance)
    if key is not None:
        del file.tensors[key]


def _leave_out_parameter(file: SftFile, chance: random.Random) -> None:
    """All of one, which is right but for what a packed file says of it."""
    key = _pick(file, chance)
    if key is not None:
        name = key.partition("/")[2]
        file.tensors = {k: t for k, t in file.tensors.items() if k.partition("/")[2] != name}


def _other_name(file: SftFile, chance: random.Random) -> None:
    """Rename a parameter, or have it twice: under the name of what is tied to it, say."""
    key = _pick(file, chance)
    if key is None:
        return
    name = key.partition("/")[2]
    other = chance.choice(
        [name.removeprefix("encoder."), f"encoder.{name}", "out.weight", "encoder.emb.weight",
         "head.weight", "head.bias", "", "/", "\x1b[2Jx", "a\nb", "\ud800", "x" * 5000,
         f"layer.{'9' * 5000}.x", "é", "encoder.lin.weight"]
    )  # fmt: skip
    is_there_twice = chance.random() < 0.6
    for old in [k for k in file.tensors if k.partition("/")[2] == name]:
        file.tensors[f"{old.partition('/')[0]}/{other}"] = deepcopy(file.tensors[old])
        if not is_there_twice:
            del file.tensors[old]
    packed = file.about.get("packed") if isinstance(file.about, dict) else None
    if isinstance(packed, dict) and name in packed:
        packed[other] = packed[name] if is_there_twice else packed.pop(name)


def _other_kind(file: SftFile, chance: random.Random) -> None:
    """The same tensor under another kind too, or in its place."""
    key = _pick(file, chance)
    if key is None:
        return
    kinds = ["whole", "indices", "values", "shape", "packed_indices", "packed_values", "x", ""]
    other = f"{chance.choice(kinds)}/{key.partition('/')[2]}"
    tensor = file.tensors[key] if chance.random() < 0.5 else file.tensors.pop(key)
    file.tensors[chance.choice([other, other.replace("/", "")])] = deepcopy(tensor)


def _packed(file: SftFile, chance: random.Random) -> None:
    """Other bytes, or so many that a reader's memory would be full."""
    key = _pick(file, chance, ("packed_indices/", "packed_values/"))
    if key is None:
        return
    content = chance.choice(
        [b"", b"\0" * 3, b"\1" * 80, b"\xff" * 5, b"\1\xff", chance.randbytes(30), b"\xff\xff\5"]
    )
    tensor = _compressed(content)
    match chance.randrange(6):
        case 0:
            tensor.content = tensor.content[: chance.randrange(len(tensor.content))]
        case 1:
            tensor.content += b"more"
        case 2:
            tensor.content = chance.randbytes(20)
        case 3:
            tensor = _bomb(chance.choice([0, 1, 255]))
            name = key.partition("/")[2]
            if chance.random() < 0.8:
                file.tensors[f"shape/{name}"] = _shape([2**40])
                number = chance.choice([1, _BOMB_BYTES, _BOMB_BYTES // 4, 2**40])
                file.about["packed"] = {name: {"num_params": number, "dtype": "float32"}}
                if chance.random() < 0.5:
                    file.tensors[f"packed_indices/{name}"] = _bomb(1)
                    file.tensors[f"packed_values/{name}"] = _bomb(0)
    tensor.shape = [len(tensor.content)]
    file.tensors[key] = tensor


def _nothing(file: SftFile, chance: random.Random) -> None:
    """It is right as it is."""


_CHANGES = [
    _metadata, _metadata, _about, _another_version, _values_of, _values_of, _positions_of,
    _shape_of, _dtype_of, _header_of, _key_twice, _leave_out, _leave_out_parameter, _other_name,
    _other_name, _other_kind, _packed, _packed, _nothing,
]  # fmt: skip


def _pick(file: SftFile, chance: random.Random, kinds: tuple[str, ...] = ("",)) -> str | None:
    keys = [key for key in file.tensors if key.startswith(kinds)]
    return chance.choice(keys) if keys else None


# ------------------------------------------------------------------ the format


def _shape(lengths: Any) -> Tensor:
    return Tensor(
        "I64", [len(lengths)], b"".join(n.to_bytes(8, "little", signed=True) for n in lengths)
    )


def _as_bytes(numbers: np.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        return (numbers.astype("<f4").view(np.uint32) >> 16).astype("<u2").tobytes()
    return numbers.astype(_NUMPY[dtype]).tobytes()


def _steps(indices: np.ndarray) -> bytes:
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


def _compressed(content: bytes) -> Tensor:
    packed = zstandard.ZstdCompressor(level=1).compress(content)
    return Tensor("U8", [len(packed)], packed)


_BOMB_BYTES = 1 << 29


@cache
def bombs() -> dict[int, bytes]:
    """Half a gigabyte of one byte, compressed, by that byte."""
    return {byte: _many_of(byte) for byte in (0, 1, 255)}


def _many_of(byte: int) -> bytes:
    piece = bytes([byte]) * (1 << 24)
    packer = zstandard.ZstdCompressor(level=1).compressobj(size=_BOMB_BYTES)
    return b"".join(packer.compress(piece) for _ in range(32)) + packer.flush()


def _bomb(byte: int) -> Tensor:
    return Tensor("U8", [len(bombs()[byte])], bombs()[byte])
