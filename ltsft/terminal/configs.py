"""The configs that come with ltsft: ``ltsft:task/ner`` is one of them, wherever one stands.

A path in any config is relative to where ``ltsft`` is called, as it is on the command line.
"""

import difflib
from pathlib import Path

from ltsft.errors import LtsftError

PREFIX = "ltsft:"
"""What the name of a config that comes with ltsft begins with."""

FOLDER = Path(__file__).parents[1] / "configs"
"""Where they are."""


def names() -> list[str]:
    """Names of all configs, by group: ``data/ner``, …, ``trainer/smoke``."""
    paths = (path.relative_to(FOLDER).with_suffix("") for path in FOLDER.glob("*/*.yaml"))
    return sorted(path.as_posix() for path in paths)


def path_of(name: str) -> Path:
    """The file of a config.

    Args:
        name: Its name, with ``ltsft:`` before it or not.

    Raises:
        LtsftError: If there is none of that name.
    """
    short = name.removeprefix(PREFIX).removesuffix(".yaml")
    if short not in names():
        near = difflib.get_close_matches(short, names(), 1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else ""
        raise LtsftError(
            f"`{PREFIX}…` is expected to name a config that comes with ltsft, but got "
            f"{short!r}; {hint or 'see `ltsft configs`.'}"
        )
    return FOLDER / f"{short}.yaml"


def with_paths(args: list[str]) -> list[str]:
    """A command line with the paths of configs in place of their names.

    Example:
        >>> *_, last = with_paths(["--config", "own.yaml", "--config=ltsft:trainer/cpu"])
        >>> last.endswith("trainer/cpu.yaml")
        True
    """
    return [_with_path(arg, before) for before, arg in zip(["", *args], args, strict=False)]


def _with_path(arg: str, before: str) -> str:
    option, equals, value = arg.rpartition("=")
    is_config = option == "--config" if equals else before in ("--config", "-c")
    return f"{option}{equals}{path_of(value)}" if is_config and value.startswith(PREFIX) else arg
