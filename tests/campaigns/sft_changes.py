"""What a stranger might change in a file of a fine-tuning before it is signed."""

import random
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import zstandard

from tests.campaigns.oddities import change_somewhere, odd_value
from tests.campaigns.sft_files import (
    NAMES,
    NUMPY,
    SftFile,
    Tensor,
    as_bytes,
    compressed,
    shape_tensor,
)


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
        tensor.content = as_bytes(numbers, tensor.dtype)


def _positions_of(file: SftFile, chance: random.Random) -> None:
    key = _pick(file, chance, ("indices/",))
    if key is None or not file.tensors[key].content or file.tensors[key].dtype not in NUMPY:
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
        file.tensors[key] = shape_tensor(chance.choice(odd))
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
    tensor = compressed(content)
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
                file.tensors[f"shape/{name}"] = shape_tensor([2**40])
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
