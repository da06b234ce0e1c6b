"""Config files, looked at before a parser reads them."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from ltsft.errors import LtsftError


def check_configs(args: Sequence[str]) -> None:
    """Refuse config files on a command line that hold no keys and values.

    A parser's own remarks about them do not name the file.

    Args:
        args: The command line, with ``--config FILE`` or ``--config=FILE`` any number of times.

    Raises:
        LtsftError: If one is no file, or not one of YAML with keys and values.
    """
    for place, word in enumerate(args):
        option, equals, value = word.partition("=")
        if option == "--config" and equals:
            _check(value)
        elif option == "--config" and place + 1 < len(args):
            _check(args[place + 1])


def _check(path: str) -> None:
    if not os.path.isfile(path):
        raise LtsftError(f"`--config` is expected to be a YAML file, but {path!r} is no file.")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise LtsftError(
            f"{path}{line}: the config is expected to be YAML, but {error.problem}."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError, OSError) as error:
        raise LtsftError(f"{path}: the config is expected to be YAML, but {error}.") from error
    if not isinstance(values, dict):
        content = "nothing" if values is None else repr(str(values)[:40])
        raise LtsftError(
            f"{path}: the config is expected to have keys and values, but has {content}."
        )
