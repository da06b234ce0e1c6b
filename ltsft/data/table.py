"""Tables: rows of a text file, or of what `datasets` can load."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ltsft.data.encoding.digest import file_digest
from ltsft.data.formats.rows import Row, read_rows
from ltsft.data.source import Source
from ltsft.errors import LtsftError
from ltsft.files import DATA_SUFFIXES, PARQUET, no_data

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Table:
    """The rows of a table: in a text file, or what `datasets` can load.

    Args:
        source: What to load.
        role: What it is for; a file is the whole table, whatever it is for.

    Raises:
        LtsftError: If nothing could be loaded, or there is no row.
    """

    def __init__(self, source: Source, role: str) -> None:
        self.source = source
        self._loaded: Any = None
        if source.is_text_table:
            self.column_names = list(next(read_rows(source.path)).values)
        else:
            self._loaded = _load(source, role)
            self.column_names = list(self._loaded.column_names)

    @property
    def fingerprint(self) -> str:
        """A digest of what the rows are."""
        content = (
            file_digest(self.source.path) if self._loaded is None else self._loaded._fingerprint
        )
        return f"{content} {self.source.limit}"

    def has_column(self, holds: str, default: str) -> bool:
        """Whether there is a column; one that `columns` of the source names has to be there."""
        return holds in self.source.columns or default in self.column_names

    def rows(self, **defaults: str) -> Iterator[tuple[str, list[Any]]]:
        """The values of some columns, row by row, label ids as label names.

        Args:
            **defaults: What the columns hold, as `columns` of the source may name them by → the
                column where it does not.

        Yields:
            Where the row is, for error messages; its values, in the order asked for. A label id
            below 0, which stands for no label, is ``None``.

        Raises:
            LtsftError: If there is no such column.
        """
        names = [self._name(holds, default) for holds, default in defaults.items()]
        for place, values in islice(self._rows(names), self.source.limit):
            if missing := [name for name in names if name not in values]:
                raise LtsftError(
                    f"{place}: an object is expected to have `{missing[0]}`, as the first one has, "
                    f"but got only {', '.join(values) or 'none'}."
                )
            yield place, [values[name] for name in names]

    def string(self, place: str, holds: str, value: Any) -> str:
        """The value, if it is a string.

        Args:
            place: Where the row is.
            holds: What the column holds.
            value: What is there.

        Raises:
            LtsftError: If it is none.
        """
        if not isinstance(value, str):
            raise LtsftError(
                f"`{self.source.option}.columns` is expected to name a column of strings for "
                f"`{holds}`, but {place}, has {str(value)[:60]} there."
            )
        return value

    def _name(self, holds: str, default: str) -> str:
        name = self.source.columns.get(holds, default)
        if name not in self.column_names:
            raise LtsftError(
                f"`{self.source.option}.columns` is expected to name one of the columns "
                f"{', '.join(self.column_names)} of {self.source.path} for `{holds}`, but "
                f"got {name!r}."
            )
        return name

    def _rows(self, names: list[str]) -> Iterator[Row]:
        if self._loaded is None:
            yield from read_rows(self.source.path)
            return
        rows = self._loaded.select_columns(names)
        spell = {name: _label_names(rows.features[name]) for name in names}
        number = 0
        for batch in rows.iter(batch_size=1000):
            for values in zip(*(batch[name] for name in names), strict=True):
                number += 1
                spelt = {n: spell[n](value) for n, value in zip(names, values, strict=True)}
                yield Row(f"{self.source.path}, row {number}", spelt)


def _label_names(feature: Any) -> Callable[[Any], Any]:
    """What turns label ids of a column, single or in lists, into names; leaves other values."""
    single = getattr(feature, "names", None)
    listed = getattr(getattr(feature, "feature", None), "names", None)

    def spell(value: Any) -> Any:
        if value is None:
            return None
        if single is not None:
            return single[value] if value >= 0 else None
        return value if listed is None else [listed[label] for label in value]

    return spell


def _load(source: Source, role: str) -> Any:
    import datasets

    path = Path(source.path)
    split = source.split_for(role)
    reason = "no such file"
    if path.is_file() and path.suffix == PARQUET:
        arguments = {"path": "parquet", "data_files": str(path)}
        split = source.split or "train"  # the one file is the whole table, whatever it is for
    elif path.is_dir():
        arguments = {"path": str(path)}
    elif _HUB_NAME.fullmatch(source.path) and path.suffix not in DATA_SUFFIXES:
        arguments = {"path": source.path}
    else:
        arguments = {}
    if arguments:
        try:
            return datasets.load_dataset(
                name=source.config, split=split, revision=source.revision, **arguments
            )
        except Exception as error:
            # Whatever the library or the network raises, the user needs one line about the source.
            reason = _one_line(error)
    raise no_data(source.option, source.path, reason)


def _one_line(error: BaseException) -> str:
    # The cause says more than what wraps it ("An error occurred while generating the dataset").
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300].rstrip(".!")
