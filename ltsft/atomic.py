"""The one way to write: under a temporary name beside the target, synced, then renamed.

Nobody ever sees half a file or folder under its final name, whatever ends the process. And of those
who write into one folder for long there is one at a time.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ltsft.errors import LtsftError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file: what the block writes to the path it is given is `path` afterwards.

    Folders above are made. If the block raises, nothing is left behind and an older file stays.

    Args:
        path: The final name.

    Yields:
        A temporary name in the same folder, of an empty file.

    Raises:
        LtsftError: If the folder cannot be made or written to.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder, "a.txt")) as temporary:
        ...         _ = temporary.write_text("all of it")
        ...     Path(folder, "a.txt").read_text()
        'all of it'
    """
    with _one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes it private
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def set_aside(path: Path) -> Path | None:
    """Give a file another name beside it, with the next number that is free, if it is there.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a.txt").touch()
        ...     set_aside(Path(folder, "a.txt")).name
        'a-1.txt'
    """
    if not path.exists():
        return None
    names = (path.with_stem(f"{path.stem}-{number}") for number in count(1))
    free = next(name for name in names if not name.exists())
    os.replace(path, free)
    return free


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Write a folder: what the block writes into the one it is given is in `path` afterwards.

    Folders above are made. If the block raises, nothing is left behind.

    Args:
        path: The final name; there may be an empty folder, but none with anything in it once the
            block is done.

    Yields:
        A temporary, empty folder beside it.

    Raises:
        LtsftError: If the folder cannot be made or written to.
    """
    with _one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        for inside in [*temporary.rglob("*"), temporary]:
            # mkdtemp makes folders private, and so do libraries make files.
            inside.chmod(0o755 if inside.is_dir() else 0o644)
            _sync(inside)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def only_one(folder: Path, what: str, option: str) -> Iterator[None]:
    """Hold a folder's lock in the block; the system releases it however the process ends.

    Args:
        folder: Made if it is missing.
        what: What holds it, for the message.
        option: The option that names the folder.

    Raises:
        LtsftError: If another process holds it.
    """
    with _one_line(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LtsftError(
                f"another {what} is running in `{folder}`; wait for it, or set another {option}."
            ) from None
        yield


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        LtsftError: If the folder cannot be made or written to.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LtsftError(f"`{path}` is expected to be writable, but: {error.strerror}.") from error


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk before what depends on it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
