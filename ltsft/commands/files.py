"""What commands write: never half a file; and how tables look."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as Markdown, the first column to the left, numbers to the right.

    Example:
        >>> print(table(["language", "accuracy"], [["hsb", "54.3"], ["mt", "9.0"]]))
        | language | accuracy |
        | :------- | -------: |
        | hsb      |     54.3 |
        | mt       |      9.0 |
    """
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        padded = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]
        return f"| {' | '.join(padded)} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])
