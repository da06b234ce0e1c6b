"""What parsers say about a user's mistake, on one line.

A parser of nested classes has one parser per class, and hands what one of them says up to the next
as part of a long account of all types that it tried. Each of ours says only a key and a reason,
``KEY: REASON``, to which the one above adds its own key; the outermost makes a sentence of it.
"""

import inspect
import re
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from jsonargparse import ArgumentParser

from ltsft.errors import LtsftError
from ltsft.terminal import yaml_text
from ltsft.terminal.config_file import check_configs
from ltsft.terminal.configs import with_paths
from ltsft.terminal.last_wins import with_one_budget

_ARE_REQUIRED = "the following arguments are required"  # as argparse says it
_UNKNOWN = r"(?:^unrecognized arguments: --|does not accept option ')([\w.]+)"
_NO_OPTION = "no such option"
_REQUIRED = "required, but missing"


class Complaint(LtsftError):
    """What a parser said; parsers of nested classes complain to the one above them."""


class UnknownOption(LtsftError):
    """An option that there is not."""


class OneLineParser(ArgumentParser):
    """A parser that raises :class:`LtsftError` where it would print several lines and exit."""

    class_names: ClassVar[dict[str, list[str]]] = {}
    """Option -> names of the classes that it may be."""

    option_classes: ClassVar[dict[str, type]] = {}
    """Option that has options of its own -> the class that has them."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *rest: Any, **options: Any
    ) -> Any:
        """Parse a command line.

        Raises:
            LtsftError: If something in it, or in a config file, cannot be as given.
        """
        args = with_one_budget(with_paths(list(args or [])))
        check_configs(args)
        yaml_text.use()
        try:
            return super().parse_args(args, *rest, **options)
        except Complaint as complaint:
            words = in_words(str(complaint))
            error = UnknownOption if "` is no option" in words else LtsftError
            raise error(words) from complaint

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the reason, without the parser's account of all types it tried.

        Raises:
            Complaint: Always.
        """
        cause = own_cause(ex)
        raise Complaint(str(cause) if cause else self._reason(message)) from ex

    def _reason(self, message: str) -> str:
        """Key and reason, out of a parser's account of what went wrong."""
        match = re.search(r'Parser key "([^"]+)"', message)
        if match is None:
            return message
        key = match[1]
        # Classes have their options one level below, beside their name.
        inside = f"{key}.init_args" if key in self.class_names else key
        if nested := re.search(r"- `([\w.]+)`: ([^\n]*)", message):
            return f"`{inside}.{nested[1]}`: {nested[2]}"
        if unknown := re.search(r"Option '([^']+)' is not accepted", message):
            return f"`{inside}.{unknown[1]}`: {_NO_OPTION}"
        if missing := re.search(rf"{_ARE_REQUIRED}: ([\w.]+)", message):
            return f"`{inside}.{missing[1]}`: {_REQUIRED}"
        if key in self.option_classes:
            first, *others = inspect.signature(self.option_classes[key]).parameters
            more = ", ".join(f"`.{name}`" for name in others)
            values = re.findall(r"(?:Given|Got) value: (.*)|string: (\S+)", message)
            got = next((a or b for a, b in values), "something else")
            return (
                f"`{key}` is expected to be set by its options (`{key}.{first}`, {more}), but got "
                f"{got.strip(chr(39))}."
            )
        names = ", ".join(self.class_names.get(key, []))
        one_of = f"one of {names}, or the import path of a class" if names else "a class"
        if "is abstract" in message:
            return f"`{key}` is expected to be {one_of}, named before its options, but got none."
        if wrong := re.search(r"Expected a dot import path string: (\S+)", message):
            return f"`{key}` is expected to be {one_of}, but got {wrong[1]!r}."
        types = dict.fromkeys(
            re.findall(r"Expected an? (.+?)(?:\. Got value: .*)?$", message, re.M)
        )
        value = re.search(r"(?:Given|Got) value: (.*)", message)
        if types and value:
            return f"`{key}`: {' or '.join(map(_type_in_words, types))}; {value[1]}"
        return f"`{key}`: {message.splitlines()[-1].strip(' -')}"


def in_words(complaint: str) -> str:
    """A sentence of a key and a reason; any other text stays as it is.

    Example:
        >>> in_words("`data.limit`: int or null; many")
        '`data.limit` is expected to be int or null, but got many.'
    """
    if missing := re.match(rf"{_ARE_REQUIRED}: (?:\w+\.)?(\w+)", complaint):
        return in_words(f"`{missing[1]}`: {_REQUIRED}")
    if unknown := re.search(_UNKNOWN, complaint):
        return in_words(f"`{unknown[1]}`: {_NO_OPTION}")
    match = re.fullmatch(r"`([\w.]+)`: (.*)", complaint, re.DOTALL)
    if match is None:
        return complaint
    key, reason = match.groups()
    if reason == _NO_OPTION:
        return f"`{key}` is no option; check its spelling, or see `--help`."
    if reason == _REQUIRED:
        hint = "; name a config (`--config ltsft:task/pos`), or see `--help`"
        return f"`{key}` is expected to be given, but is missing{hint if key == 'data' else ''}."
    expected, semicolon, value = reason.partition("; ")
    if not semicolon:
        return complaint
    return f"`{key}` is expected to be {expected}, but got {value}."


def _type_in_words(name: str) -> str:
    if literals := re.fullmatch(r"typing\.Literal\[(.*)\]", name):
        return f"one of {literals[1]}"
    plain = re.sub(r"^<class '([\w.]+)'>$", r"\1", name)
    return {"NoneType": "null", "dict": "a mapping", "str": "text"}.get(plain, plain)


def own_cause(error: BaseException | None) -> LtsftError | None:
    """What one of our constructors raised, out of a parser's account of it.

    The parser wraps it in an error of its own, as the cause, or, of a class that is one of several
    possible types, in the text alone.
    """
    text = str(error)
    while error is not None:
        if isinstance(error, LtsftError) and not isinstance(error, Complaint):
            return error
        error = error.__cause__
    match = re.search(r"- ([^\n]*`[^\n]* is expected to [^\n]*)", text)
    return LtsftError(match[1]) if match else None
