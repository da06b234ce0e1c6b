"""What constructors refuse: a logger, a callback, the Trainer. One line, with the option."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonargparse import Namespace

from ltsft.errors import LtsftError

_LAYOUT = (
    "Does not validate", "Subtypes:", "Errors:", "Given value", "Expected ", "Not a valid subclass",
    "Subclass types", "Problem with given class_path", "a class path", "a dict with",
)  # fmt: skip
"""How lines begin that tell of a parser's tries, and not of what went wrong."""


def refused(error: BaseException, config: Namespace) -> LtsftError:
    """What a constructor said, out of a parser's account of all types it tried.

    Args:
        error: What instantiating raised.
        config: What was instantiated.
    """
    lines = [line.strip(" -") for line in str(error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith(_LAYOUT)]
    values = re.findall(r"class_path='([\w.]+)'", str(error))
    named = re.findall(r"Problem with given class_path '([\w.]+)'", str(error))
    innermost = (named or values or [""])[-1 if named else 0]
    places = [key for key, path in _class_paths(config) if path == innermost]
    reason = ". ".join(dict.fromkeys(r.rstrip(".") for r in reasons[:2])) or str(error)
    name = innermost.rpartition(".")[2] or "the config"
    if "pip install" in reason:
        return LtsftError(
            f"`{places[0] if places else 'config'}` is expected to be something whose package is "
            f"installed, but that of {name} is not: {reason}."
        )
    return LtsftError(
        f"`{places[0] if places else 'config'}` is expected to have options that {name} takes, but "
        f"it says: {reason}."
    )


def refused_by_trainer(error: BaseException, options: Mapping[str, Any]) -> LtsftError:
    """What Lightning's Trainer said, with the options that it is mostly about."""
    told = ", ".join(f"{key}={options.get(key)}" for key in ("accelerator", "devices", "strategy"))
    reason = " ".join(str(error).split()).rstrip(".!")
    return LtsftError(
        f"`trainer` is expected to have options that Lightning takes, but of {told} it says: "
        f"{reason}."
    )


def _class_paths(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Option -> class, for every class in a config."""
    if isinstance(value, Namespace):
        value = value.__dict__
    if isinstance(value, list | tuple):
        for item in value:
            yield from _class_paths(item, key)
    elif isinstance(value, dict):
        if isinstance(path := value.get("class_path"), str):
            yield key, path
        for name, item in value.items():
            if name != "class_path":
                inside = key if name == "init_args" else f"{key}.{name}".lstrip(".")
                yield from _class_paths(item, inside)
