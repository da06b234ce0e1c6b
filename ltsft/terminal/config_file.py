"""Config files, looked at before a parser reads them."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from ltsft.errors import LtsftError


def check_configs(args: Sequence[str]) -> None:
    """Refuse config files on a command line that hold no keys and values, or a key twice.

    A parser's own remarks about them do not name the file, and of a key that comes twice it would
    take the last without a word.

    Args:
        args: The command line, with ``--config FILE`` or ``--config=FILE`` any number of times.

    Raises:
        LtsftError: If one is no file, not one of YAML with keys and values, or has a key twice.
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
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.safe_load(text)
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
    _check_keys(path, yaml.compose(text, Loader=yaml.SafeLoader))


def _check_keys(path: str, node: yaml.Node | None) -> None:
    """Refuse a mapping, at any depth, in which a key comes twice."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise LtsftError(
                    f"{path}, line {line}: each key is expected to come once, but `{key.value}` is "
                    f"in line {lines[key.value]} too; merge the two."
                )
            lines[key.value] = line
            _check_keys(path, value)
