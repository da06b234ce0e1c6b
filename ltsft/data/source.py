"""Where examples come from: a file, a built-in language, or a table."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltsft.data.formats.files import file_digest
from ltsft.data.formats.rows import SUFFIXES, Row, read_rows
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from ltsft.data.artificial import Language

ARTIFICIAL = "artificial:"

ARTIFICIAL_SENTENCES = {"train": 1000, "validation": 200, "test": 300}
"""Sentences of a built-in language, by split, where no `limit` is given."""

_PARQUET = ".parquet"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILE_SUFFIXES = {*SUFFIXES, _PARQUET, ".conllu", ".conll", ".iob2", ".iob", ".bio", ".txt"}


@dataclass
class Source:
    """Where examples come from.

    Args:
        path: A local file; ``artificial:<language>`` for a built-in language; or what
            ``datasets.load_dataset`` takes: a name on the Hugging Face hub or a local folder. A
            file named ``*.tsv`` (quotes are ordinary characters), ``*.csv``, ``*.jsonl``,
            ``*.json`` or ``*.parquet`` is a table, any other is read in the data module's format.
        config: Config name of a `datasets` table.
        split: Split of a `datasets` table or built-in language; by default what the data is for:
            ``train``, ``validation`` or ``test``.
        revision: Revision of a name on the hub.
        columns: Columns of a table by what they hold, e.g. ``{words: tokens, tags: upos}``,
            ``{heads: head, relations: deprel}`` or ``{premise: sentence1, hypothesis: sentence2}``.
        limit: Read the first so many examples (sentences, lines or rows) only.
        seed: Seed of the family of built-in languages.

    Raises:
        LtsftError: If `path` is empty or `limit` is below 1.
    """

    path: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.path:
            raise LtsftError("`path` of a data source is expected to name one, but it is empty.")
        if self.limit is not None and self.limit < 1:
            raise LtsftError(
                f"`limit` of the data source {self.path} is expected to be 1 or more, but got "
                f"{self.limit}; leave it out to read everything."
            )

    @classmethod
    def of(cls, value: "str | Source") -> "Source":
        """A plain string is a source with that path."""
        return cls(path=value) if isinstance(value, str) else value

    @property
    def is_artificial(self) -> bool:
        """Whether it is a built-in language."""
        return self.path.startswith(ARTIFICIAL)

    @property
    def is_text_table(self) -> bool:
        """Whether it is a local file that :func:`~ltsft.data.formats.rows.read_rows` reads."""
        path = Path(self.path)
        return not self.is_artificial and path.suffix in SUFFIXES and path.is_file()

    @property
    def is_plain_file(self) -> bool:
        """Whether it is a local file to be read by one of our readers, not as a table."""
        path = Path(self.path)
        is_table = path.suffix in (*SUFFIXES, _PARQUET)
        return not self.is_artificial and not is_table and path.is_file()

    @property
    def language(self) -> str:
        """A language code guessed from the path: the built-in language's or the file's name."""
        if self.is_artificial:
            return self.path.removeprefix(ARTIFICIAL)
        return Path(self.path).stem


Sources = dict[str, str | Source]
"""Language code → where its data is."""


def artificial_language(source: Source, role: str) -> "tuple[Language, int, str]":
    """The built-in language of a source, how many sentences of it, and the split.

    Raises:
        LtsftError: If there is no such language or split.
    """
    from ltsft.data.artificial import family

    split = source.split or role
    if split not in ARTIFICIAL_SENTENCES:
        raise LtsftError(
            f"`split` of {source.path} is expected to be one of "
            f"{', '.join(ARTIFICIAL_SENTENCES)}, but got {split!r}."
        )
    return (
        family(source.seed)[source.path.removeprefix(ARTIFICIAL)],
        source.limit or ARTIFICIAL_SENTENCES[split],
        split,
    )


class Table:
    """The rows of a table: in a text file, or what `datasets` can load.

    Args:
        source: What to load.
        role: Split to load where the source names none; a file is the whole table, whatever it is
            for.
        key: The option that gave the source, for error messages.

    Raises:
        LtsftError: If nothing could be loaded, or there is no row.
    """

    def __init__(self, source: Source, role: str, key: str) -> None:
        self.source = source
        self.key = key
        self._loaded: Any = None
        if source.is_text_table:
            self.column_names = list(next(read_rows(source.path)).values)
        else:
            self._loaded = _load(source, role, key)
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

    def column(self, holds: str, default: str) -> Iterator[Any]:
        """The values of one column, as :meth:`rows` has them."""
        return (value for _, (value,) in self.rows(**{holds: default}))

    def _name(self, holds: str, default: str) -> str:
        name = self.source.columns.get(holds, default)
        if name not in self.column_names:
            raise LtsftError(
                f"`{self.key}.columns` is expected to name one of the columns "
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


def string_at(place: str, holds: str, value: Any, key: str) -> str:
    """The value, if it is a string.

    Args:
        place: Where the row is.
        holds: What the column holds.
        value: What is there.
        key: The option that gave the source.

    Raises:
        LtsftError: If it is none.
    """
    if not isinstance(value, str):
        raise LtsftError(
            f"`{key}.columns` is expected to name a column of strings for `{holds}`, but {place}, "
            f"has {str(value)[:60]} there."
        )
    return value


def _load(source: Source, role: str, key: str) -> Any:
    import datasets

    path = Path(source.path)
    split = source.split or role
    reason = "no such file"
    if path.is_file() and path.suffix == _PARQUET:
        arguments = {"path": "parquet", "data_files": str(path)}
        split = source.split or "train"  # the one file is the whole table, whatever it is for
    elif path.is_dir():
        arguments = {"path": str(path)}
    elif _HUB_NAME.fullmatch(source.path) and path.suffix not in _FILE_SUFFIXES:
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
    raise LtsftError(
        f"`{key}` is expected to be where data is, but {source.path!r} is neither a file, nor "
        f"`{ARTIFICIAL}<language>`, nor a data set that could be loaded: {reason}."
    )


def _one_line(error: BaseException) -> str:
    # The cause says more than what wraps it ("An error occurred while generating the dataset").
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300].rstrip(".!")
