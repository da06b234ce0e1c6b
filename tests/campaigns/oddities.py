"""Values that a stranger might put where something else belongs."""

import random
import re
from typing import Any

BIG = "@5000 digits@"
"""Stands for a number that Python's own JSON refuses to write; see :func:`spelled_out`."""

DEEP = ["@500 deep@", "@2000 deep@", "@200000 deep@"]
"""Stand for lists in lists, which it cannot write either."""

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**63) - 1, 10**300, 0.5, -1e308, float("nan"),
    float("inf"), "", "x", "pos", "é", "\x1b[31mred", "a\rb", "a\nb", "\x9b2J", "\u202egnp",
    "\ud800", "\0", "x" * 5000, [], {}, [[]], {"": {}}, [None], [1, "a"], ["a", ["b"]], {"a": 1},
    {"a": {"b": []}}, {"a": "b"}, {"\x1b[2J": 1}, {"parts": 3}, {"parts": [{"weight": "x"}]},
    {"parts": [{"weight": 1.0}]},
    {"parts": [{"weight": 1, "digest": 5}]}, BIG, "F32", "float32", "language",
]  # fmt: skip


def odd_value(chance: random.Random) -> Any:
    """One of them, or one nested so deeply that recursion ends."""
    if chance.random() < 0.05:
        value: Any = chance.choice(["x", {}, []])
        if chance.random() < 0.3:
            return chance.choice(DEEP)
        for _ in range(chance.choice([3, 80, 110])):
            value = [value] if chance.random() < 0.5 else {"composition": {"parts": [value]}}
        return value
    return chance.choice(ODD)


def spelled_out(text: str) -> str:
    """JSON with what :data:`BIG` and :data:`DEEP` stand for, also inside of a text."""

    def spell(match: re.Match[str]) -> str:
        number, what = int(match[1]), match[2]
        return "9" * number if what == "digits" else "[" * number + "]" * number

    return re.sub(r'\\*"@(\d+) (digits|deep)@\\*"', spell, text)


def change_somewhere(values: Any, chance: random.Random) -> None:
    """Replace, add or remove a value in nested objects and lists, in place."""
    if not isinstance(values, dict | list):
        return
    nodes, at = [values], 0
    while at < len(nodes):
        inner = nodes[at].values() if isinstance(nodes[at], dict) else nodes[at]
        nodes += [value for value in inner if isinstance(value, dict | list)]
        at += 1
    node = chance.choice(nodes)
    if isinstance(node, dict):
        keys = list(node)
        key = chance.choice(keys) if keys and chance.random() < 0.9 else chance.choice(_KEYS)
        if chance.random() < 0.2:
            node.pop(key, None)
        else:
            node[key] = odd_value(chance)
    elif node and chance.random() < 0.7:
        node[chance.randrange(len(node))] = odd_value(chance)
    else:
        node.append(odd_value(chance))


_KEYS = [
    "composition",
    "extra",
    "x",
    "\x1b[31m",
    "\ud800",
    "a\nb",
    "later",
    "version",
    "name",
    "type",
]


def change_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut, insert, double or blank some bytes; nobody signs it again."""
    data, at = bytearray(content), chance.randrange(max(1, len(content)))
    if chance.random() < 0.5:
        at = min(at, chance.randrange(600))  # where headers are
    match chance.randrange(7):
        case 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        case 1:
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            del data[at:]
        case 3:
            data[at:at] = chance.randbytes(chance.choice([1, 2, 8, 64]))
        case 4:
            del data[at : at + chance.choice([1, 8, 100])]
        case 5:
            data[at : at + 8] = chance.choice(_NUMBERS).to_bytes(8, "little")
        case _:
            other = chance.randrange(len(data))
            data[at : at + 16] = data[other : other + 16]
    return bytes(data)


_NUMBERS = [0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]
