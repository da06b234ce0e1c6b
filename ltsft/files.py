"""What names of data files look like, and what is said of one that is missing."""

import re

from ltsft.errors import LtsftError

TABLE_SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")
"""Text files of rows end in one of these."""

PARQUET = ".parquet"

DATA_SUFFIXES = {*TABLE_SUFFIXES, PARQUET, ".conllu", ".conll", ".iob2", ".iob", ".bio", ".txt"}
"""What ends in one of these is meant as a file, and not as a name on the hub."""

STDIN = "-"
"""Path of what comes through a pipe."""

ARTIFICIAL = "artificial:"
"""What names of built-in languages begin with."""


_CODE = re.compile(r"\w[\w.+-]*")


def check_language(code: str, option: str) -> None:
    """Refuse a language code after which no file or folder can be named.

    Args:
        code: It.
        option: The option that says it.

    Raises:
        LtsftError: If it has anything but letters, digits and ``. + - _``, or begins with one of
            the first three.
    """
    if not _CODE.fullmatch(code):
        raise LtsftError(
            f"`{option}` is expected to have codes of languages, by which files are named "
            f"(letters, digits and . + - _, a letter or digit first), but got {code!r}."
        )


def no_data(option: str, path: str, reason: str = "no such file") -> LtsftError:
    """The error for data that are not there.

    Args:
        option: The option that names them.
        path: What it says.
        reason: Why nothing could be loaded.
    """
    hint = "; a blank goes after the colon of a mapping" if path.startswith("{") else ""
    return LtsftError(
        f"`{option}` is expected to be where data is, but {path!r} is neither a file, nor "
        f"`{ARTIFICIAL}<language>`, nor a data set that could be loaded: {reason}{hint}."
    )
