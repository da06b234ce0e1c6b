"""Mistakes of a command line that show before anything heavy is imported.

Lightning and torch take ten seconds on a slow machine; a wrong path should not. What is found here
is a convenience: the parser and the data modules find it too.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import yaml

from ltsft.errors import LtsftError
from ltsft.files import DATA_SUFFIXES, no_data
from ltsft.sparse.header import Header
from ltsft.sparse.location import as_path, locate
from ltsft.terminal.config_file import check_configs

FOUND_BY_LIGHTNING = ("last", "best", "hpc", "registry")
"""Values of ``ckpt_path`` that are no files."""

_STUDYS = {"targets", "systems", "language_fit", "task_fit"}
"""Keys that configs of studies have."""

_ROLES = {
    "fit": ("text", "train", "validation"),
    "validate": ("text", "validation"),
    "test": ("text", "validation", "test"),
    "predict": ("predict",),
}
"""Options of data that a command reads."""


def check(command: str, args: list[str]) -> None:
    """Find mistakes of ``ltsft fit`` and its kind.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        args: What follows it.

    Raises:
        LtsftError: If a config, a checkpoint or a file of data is not there.
    """
    check_configs(args)
    options: dict[str, Any] = {}
    for name, value in _pairs(args):
        if name == "config":
            config = _load(Path(value).read_text(encoding="utf-8"))
            if isinstance(config, dict) and _STUDYS & config.keys():
                raise LtsftError(
                    f"`--config` is expected to be the config of a {command}, but {value} is that "
                    f"of a study; run `ltsft study {value}`."
                )
            options |= _options_of(config, "data") | _options_of(config, "model")
        else:
            options[name.replace(".init_args.", ".")] = value
    path = options.get("ckpt_path")
    if path and path not in (*FOUND_BY_LIGHTNING, "null") and "://" not in path:
        check_checkpoint(path)
    base_model = options.get("model.base_model")
    if isinstance(base_model, str) and _is_path(base_model) and not as_path(base_model).is_dir():
        raise LtsftError(
            "`model.init_args.base_model` is expected to be a folder with a pretrained model, or "
            f"the name of one on the Hugging Face hub, but there is no folder {base_model!r}."
        )
    sfts = options.get("model.base_sfts")
    check_sfts(_load(sfts) if isinstance(sfts, str) else sfts)
    for role in _ROLES[command]:
        for option, path in _paths(f"data.init_args.{role}", options.get(f"data.{role}")):
            if Path(path).suffix in DATA_SUFFIXES and not Path(path).exists():
                raise no_data(option, path)


def check_sfts(names: Any) -> None:
    """Look at what files of fine-tunings say of themselves.

    Args:
        names: As a command was given them; whatever is no list of names is left to the parser, and
            what may be on the hub to those who load it.

    Raises:
        LtsftError: If one is not there, or is something else.
    """
    for name in names if isinstance(names, list) else []:
        if isinstance(name, str) and (_is_path(name) or as_path(name).exists()):
            Header.read(locate(name))


def check_composed(args: list[str]) -> None:
    """The same for ``ltsft compose``."""
    check_sfts([value for name, value in _pairs(args) if name == "sft"])


def check_overlapping(args: list[str]) -> None:
    """The same for ``ltsft overlap``."""
    check_sfts(_words(args))


def check_compared(args: list[str]) -> None:
    """Look whether the files are there that ``ltsft compare`` is given.

    Raises:
        LtsftError: If one is not.
    """
    for word in _words(args):
        for path in [word] if Path(word).exists() else word.split(","):
            if not Path(path).exists():
                raise LtsftError(
                    f"`ltsft compare` is expected to get files, but there is no file {path!r}."
                )


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "compose": check_composed,
    "overlap": check_overlapping,
    "compare": check_compared,
}
"""By command, where it is no more than that; the others call :func:`check` themselves."""


def check_checkpoint(path: str) -> None:
    """Refuse a checkpoint that is not there.

    Raises:
        LtsftError: If it is none, with those beside it.
    """
    if Path(path).is_file():
        return
    beside = sorted(p.name for p in Path(path).parent.glob("*.ckpt"))
    hint = f"; there is {', '.join(beside[-3:])}" if beside else ""
    raise LtsftError(f"`ckpt_path` is expected to be a file, but {path!r} is none{hint}.")


def _pairs(args: list[str]) -> Iterator[tuple[str, str]]:
    """Options and their values, from left to right."""
    for word, following in pairwise([*args, ""]):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            yield name, value if equals else following


def _words(args: list[str]) -> list[str]:
    """What comes before all options."""
    return list(takewhile(lambda word: not word.startswith("-"), args))


def _is_path(name: str) -> bool:
    """Whether a name can be no repository's on the hub."""
    return name.count("/") > 1 or name.startswith((".", "~", "/"))


def _load(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:  # the parser says it with its own words
        return None


def _options_of(config: Any, part: str) -> dict[str, Any]:
    """The options of data, or of the model, in a config."""
    of_part = config.get(part) if isinstance(config, dict) else None
    if not isinstance(of_part, dict):
        return {}
    options = of_part.get("init_args", of_part)
    return {f"{part}.{name}": value for name, value in (options or {}).items()}


def _paths(option: str, value: Any) -> Iterator[tuple[str, str]]:
    """Where data are said to be, in any form that sources have, with the option that says so."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        said, value = value, _load(value)
        if isinstance(value, dict) and any(":" in str(k) for k, v in value.items() if v is None):
            raise no_data(option, said)
    if isinstance(value, str):
        yield option, value
    elif isinstance(value, list):
        for item in value:
            yield from _paths(option, item)
    elif isinstance(value, dict) and "path" in value:
        yield from _paths(option, value["path"])
    elif isinstance(value, dict):
        for language, item in value.items():
            yield from _paths(f"{option}.{language}", item)
