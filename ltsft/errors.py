"""The exception for mistakes that a user can mend."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LtsftError(ValueError):
    """A mistake in what was asked for: a config, a file, a model that does not fit.

    The message is one line that says what is expected, what was found and the way out; the command
    line prints it without a traceback and exits with status 2.

    Options have the names that their user knows: keys of YAML on the command line
    (``sparse.dense.patience``), arguments in Python (``dense=Phase(patience=…)``).

    Example:
        >>> str(LtsftError("`data.init_args.max_length` is expected to be at most 512."))
        '`max_length` is expected to be at most 512.'
        >>> with options_by_yaml():
        ...     str(LtsftError("`data.init_args.max_length` is expected to be at most 512."))
        '`data.init_args.max_length` is expected to be at most 512.'
    """

    def __str__(self) -> str:
        text = super().__str__()
        if "Original Traceback" in text:  # which torch adds to one of a worker, on lines of its own
            text = printable(text, keep="\n")
        else:
            text = printable(re.sub(r"\s*\n\s*", " ", text))
        return text if _by_yaml else _in_python(text)


def printable(text: str, keep: str = "") -> str:
    r"""Write out, as in Python's source, what a terminal would obey instead of showing it.

    Names and texts in a stranger's file may hold sequences that colour, erase or reorder what is on
    the screen.

    Args:
        text: What is to be printed.
        keep: Characters to leave, e.g. line ends in a text of several lines.

    Example:
        >>> print(printable("pos\x1b[2K\r, Ünïcode"))
        pos\x1b[2K\r, Ünïcode
    """

    def spell(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else match[0].encode("unicode_escape").decode()

    return _OBEYED.sub(spell, text)


_OBEYED = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f"  # control characters
    "\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069"  # line ends and changes of direction
    "\\ud800-\\udfff]"  # halves of pairs, which cannot be written at all
)

_by_yaml = False


@contextmanager
def options_by_yaml() -> Iterator[None]:
    """Let messages name keys of YAML, inside the block, as the command line does."""
    global _by_yaml
    before, _by_yaml = _by_yaml, True
    try:
        yield
    finally:
        _by_yaml = before


_PHASE = re.compile(r"sparse\.(dense|sparse)\.(\w+)(: (?:\d+|null))?")
_METHODS = ("fit", "validate", "test", "predict", "estimated_stepping_batches")
_GROUPS = {"budget": "Budget", "until_settled": "UntilSettled", "scope": "ScopeRules"}


def _in_python(text: str) -> str:
    """A message with Python's names for what YAML's keys name, between backticks."""
    return re.sub(r"`([a-z_]+(?:\.[\w{}]+)+[^`]*)`", lambda match: f"`{_argument(match[1])}`", text)


def _argument(key: str) -> str:
    """The argument that a key is.

    Example:
        >>> _argument("sparse.dense.patience"), _argument("sparse.budget.density")
        ('dense=Phase(patience=…)', 'Budget(density=…)')
        >>> _argument("model.init_args.labels"), _argument("sparse.mode"), _argument("torch.nn")
        ('labels', 'mode', 'torch.nn')
        >>> _argument("sparse.hold: Masked"), _argument("sparse.dense.max_steps: 5")
        ('hold=Masked()', 'dense=Phase(max_steps=5)')
    """
    if phase := _PHASE.fullmatch(key):
        value = phase[3][2:].replace("null", "None") if phase[3] else "…"
        return f"{phase[1]}=Phase({phase[2]}={value})"
    room, _, rest = key.partition(".")
    group, _, name = rest.partition(".")
    if room == "sparse" and group in _GROUPS and name.isidentifier():
        return f"{_GROUPS[group]}({name}=…)"
    if room == "sparse":  # YAML makes an object of the name of a class
        return re.sub(r": ([A-Z]\w+)$", r"=\1()", rest).replace(": ", "=")
    if room in ("data", "model") and group == "init_args":
        return name.replace(": ", "=")
    if room == "trainer" and rest.isidentifier() and rest not in _METHODS:
        return f"Trainer({rest}=…)"
    if room == "languages":
        return rest
    return key


def expect_type(name: str, value: Any, kinds: type | tuple[type, ...], example: str) -> None:
    """Refuse an argument of another type, which would fail later and less clearly.

    Args:
        name: Of the argument.
        value: What was given; ``None`` is left to others.
        kinds: What it may be. A truth value is no number.
        example: How it is said right.

    Raises:
        LtsftError: If it is something else.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    is_right = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
    if value is None or is_right:
        return
    names = " or ".join(_name_of(kind) for kind in kinds)
    raise LtsftError(f"`{name}` is expected to be {names}, but got {value!r}; write `{example}`.")


def _name_of(kind: type) -> str:
    words = {int: "a whole number", float: "a number", str: "text", list: "a list"}
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    return words.get(kind, f"{article} {kind.__name__}")
