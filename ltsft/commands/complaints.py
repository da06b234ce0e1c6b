"""What parsers say about a user's mistake, on one line."""

import argparse
import re
from typing import ClassVar, NoReturn

from jsonargparse import ArgumentParser

from ltsft.errors import LtsftError


class Complaint(LtsftError):
    """What a parser said; parsers of nested classes complain to the one above them."""


class OneLineParser(ArgumentParser):
    """A parser that raises :class:`Complaint` where it would print several lines and exit."""

    class_names: ClassVar[dict[str, list[str]]] = {}
    """Option -> names of the classes that it may be."""

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
