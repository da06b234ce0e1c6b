"""What parsers say about a user's mistake, on one line."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import ArgumentParser

from ltsft.errors import LtsftError


class Complaint(LtsftError):
    """What a parser said; parsers of nested classes complain to the one above them."""


class OneLineParser(ArgumentParser):
    """A parser that raises :class:`Complaint` where it would print several lines and exit."""

    class_names: ClassVar[dict[str, list[str]]] = {}
    """Option -> names of the classes that it may be."""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse a command line, whose config files are looked at first."""
        for name, value in zip(args or [], [*(args or [])[1:], ""], strict=True):
            if name == "--config":
                check_config(value)
            elif name.startswith("--config="):
                check_config(name.removeprefix("--config="))
        return super().parse_args(args, *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the reason, without the parser's account of all types it tried.

        Raises:
            Complaint: Always.
        """
        raise Complaint(self._explain(message, ex)) from ex

    def _explain(self, message: str, error: Exception | None) -> str:
        if own := own_cause(error):
            return str(own)
        key = re.search(r'Parser key "([^"]+)"', message)
        if error is None or key is None:
            return message
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        unknown = re.match(r"Expected a dot import path string: (\S+)", str(root))
        if unknown and key[1] in self.class_names:
            return (
                f"`{key[1]}` is expected to be one of {', '.join(self.class_names[key[1]])}, or "
                f"the import path of a class, but got {unknown[1]!r}."
            )
        return f"`{key[1]}`: {root}"


def check_config(path: str) -> None:
    """Refuse a config file that holds no keys and values.

    The parser's own remarks do not name the file.

    Raises:
        LtsftError: If it is no file, or not one of YAML with keys and values.
    """
    if not os.path.isfile(path):
        raise LtsftError(f"`--config` is expected to be a YAML file, but {path!r} is no file.")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise LtsftError(
            f"{path}{line}: the config is expected to be YAML, but {error.problem}."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError, OSError) as error:
        raise LtsftError(f"{path}: the config is expected to be YAML, but {error}.") from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else repr(str(values)[:40])
        raise LtsftError(
            f"{path}: the config is expected to have keys and values, but has {found}."
        )


def own_cause(error: BaseException | None) -> LtsftError | None:
    """The first error in the chain of causes that one of our constructors raised.

    A parser wraps whatever a constructor raises into its own remarks about types.
    """
    while error is not None:
        if isinstance(error, LtsftError) and not isinstance(error, Complaint):
            return error
        error = error.__cause__
    return None


class PlainParser(argparse.ArgumentParser):
    """An argparse parser that raises :class:`Complaint` where it would print and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise the reason.

        Raises:
            Complaint: Always.
        """
        raise Complaint(f"{message}; see `{self.prog} --help`.")
