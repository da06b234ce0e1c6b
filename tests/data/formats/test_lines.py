"""Lines of text files: what ends one, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ltsft.data.formats.lines import numbered_lines
from ltsft.errors import LtsftError


def test_lines_end_at_a_line_feed_only(write: Callable[..., str]) -> None:
    """A byte order mark and carriage returns are dropped, other characters are text."""
    path = write("a.txt", "\ufeffone\u2028\x0b\x85still\r\n\n\ufefftwo\rmore\nend")
    assert list(numbered_lines(path)) == [
        (1, "one\u2028\x0b\x85still"),
        (2, ""),
        (3, "\ufefftwo\rmore"),
        (4, "end"),
    ]
    assert list(numbered_lines(write("none.txt", ""))) == []


def test_the_line_that_is_not_utf_8_is_named(write: Callable[..., str]) -> None:
    path = write("a.txt", b"one\n\xe9t\xe9\n")
    lines = numbered_lines(path)
    assert next(lines) == (1, "one")
    with pytest.raises(LtsftError, match=r"a.txt, line 2: .* UTF-8, but got the byte 0xe9; conver"):
        next(lines)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(LtsftError, match=r"none is expected to be a readable file, but got: No su"):
        next(numbered_lines(tmp_path / "none"))
