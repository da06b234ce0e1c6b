"""The lines of text files, by number, so that errors can name them."""

import io
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from ltsft.errors import LtsftError
from ltsft.files import STDIN

_OTHERS = {
    b"\xff\xfe": ("UTF-16", "iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("UTF-16", "iconv -f UTF-16 -t UTF-8"),
    b"\x1f\x8b": ("compressed (gzip)", "gunzip"),
    b"BZ": ("compressed (bzip2)", "bunzip2"),
    b"\xfd7": ("compressed (xz)", "unxz"),
    b"PK": ("an archive (zip, or a document of Office)", "unzip, or save it as plain text"),
}
"""First bytes of files that are not plain UTF-8 -> what they are, and what makes them so."""


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file and their numbers, from 1, without line ends.

    A byte order mark at the start and carriage returns at line ends are dropped. Lines end at a
    line feed only: text holds other characters that Python's ``splitlines`` takes for line ends.

    Args:
        path: The file, or ``-`` for what comes through a pipe.

    Raises:
        LtsftError: If the file cannot be read or is not UTF-8.
    """
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                if b"\0" in raw and raw[:2] not in _OTHERS:
                    raise LtsftError(
                        f"{path}, line {number}: the file is expected to be UTF-8, but has zero "
                        "bytes, as UTF-16 has; convert it, for example with `iconv -f UTF-16LE -t "
                        "UTF-8`."
                    )
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    if number == 1 and raw[:2] in _OTHERS:
                        what, remedy = _OTHERS[raw[:2]]
                        raise LtsftError(
                            f"{path} is expected to be plain UTF-8 text, but is {what}; convert it "
                            f"(`{remedy}`)."
                        ) from error
                    raise LtsftError(
                        f"{path}, line {number}: the file is expected to be UTF-8, but got the "
                        f"byte 0x{raw[error.start]:02x}; convert it, for example with `iconv -f "
                        "LATIN1 -t UTF-8`, with LATIN2 or another name by its language."
                    ) from error
                yield number, line.rstrip("\r\n")
    except OSError as error:
        raise LtsftError(
            f"{path} is expected to be a readable file, but got: {error.strerror}."
        ) from error


def _open(path: str | Path) -> BinaryIO:
    return io.BytesIO(_piped()) if path == STDIN else open(path, "rb")


@cache
def _piped() -> bytes:
    """What comes through the pipe: kept, so that it can be read more than once."""
    return sys.stdin.buffer.read()
