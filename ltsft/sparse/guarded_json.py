"""JSON of strangers: read to plain values that can be written, compared and printed again."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

_MAX_DEPTH = 100
"""A composition of compositions has three more at each; deeper values exhaust Python's stack."""

_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but line ends and tabs, which texts may have; and halves of pairs."""

_MAY_HAVE_SOME = re.compile(r"\\[ubfr]|" + _NO_TEXT.pattern)
"""How they are spelled in JSON: where it has nothing of that, its texts need not be looked at."""


def read_json(content: bytes | str) -> Any:
    """Parse JSON in UTF-8, and refuse what valid JSON may hold but a description has no use for.

    That is values nested more than a hundred deep, whole numbers beyond 64 bits, an object's key
    twice, control characters, and halves of surrogate pairs, which cannot be encoded again.

    Args:
        content: What a file holds.

    Raises:
        ValueError: If it is something else; the message is one line.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_depth(value)
    if _MAY_HAVE_SOME.search(text):
        _check_texts(value)
    return value


def _check_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(_MAX_DEPTH + 1):
        level = [
            inner for node in level for inner in _inside(node) if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _check_texts(value: Any) -> None:
    if isinstance(value, str) and (odd := _NO_TEXT.search(value)):
        raise ValueError(f"it has the character {odd[0]!r} in a text")
    if isinstance(value, dict):
        for key in value:
            _check_texts(key)
    for inner in _inside(value):
        _check_texts(inner)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has the key {twice!r:.80} twice")
    return values


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**63:
        raise ValueError(f"it has a whole number of {len(digits):,} digits")
    return number


_TOO_DEEP = f"its values are nested more than {_MAX_DEPTH} deep"
