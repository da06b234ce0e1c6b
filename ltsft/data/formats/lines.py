"""The lines of text files, by number, so that errors can name them."""

from collections.abc import Iterator
from pathlib import Path

from ltsft.errors import LtsftError


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file and their numbers, from 1, without line ends.

    A byte order mark at the start and carriage returns at line ends are dropped. Lines end at a
    line feed only: text holds other characters that Python's ``splitlines`` takes for line ends.

    Args:
        path: The file.

    Raises:
        LtsftError: If the file cannot be read or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise LtsftError(
                        f"{path}, line {number}: the file is expected to be UTF-8, but got the "
                        f"byte 0x{raw[error.start]:02x}; convert it, for example with `iconv -f "
                        "LATIN1 -t UTF-8`."
                    ) from error
                yield number, line.rstrip("\r\n")
    except OSError as error:
        raise LtsftError(
            f"{path} is expected to be a readable file, but got: {error.strerror}."
        ) from error
