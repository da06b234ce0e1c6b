"""Where examples come from: a file, a built-in language, or a `datasets` table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from ltsft.data.artificial import Language

ARTIFICIAL = "artificial:"

ARTIFICIAL_SENTENCES = {"train": 1000, "validation": 200, "test": 300}
"""Sentences of a built-in language, by split, where no `limit` is given."""

_TABLES = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv"}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILE_SUFFIXES = {*_TABLES, ".conllu", ".conll", ".iob2", ".iob", ".bio", ".txt"}


@dataclass
class Source:
    """Where examples come from.

    Args:
        path: A local file; ``artificial:<language>`` for a built-in language; or what
            ``datasets.load_dataset`` takes: a name on the Hugging Face hub or a local folder. A
            file named ``*.parquet``, ``*.json``, ``*.jsonl``, ``*.csv`` or ``*.tsv`` is a table,
            any other is read in the data module's format.
        config: Config name of a `datasets` table.
        split: Split of a `datasets` table or built-in language; by default what the data is for:
            ``train``, ``validation`` or ``test``.
        revision: Revision of a name on the hub.
        columns: Columns of a `datasets` table by what they hold, e.g. ``{words: tokens, tags:
            upos}`` or ``{heads: head, relations: deprel}``.
        limit: Read the first so many examples (sentences or lines) only.
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
    def is_plain_file(self) -> bool:
        """Whether it is a local file to be read by one of our readers."""
        return not self.is_artificial and Path(self.path).is_file() and not self._builder

    @property
    def language(self) -> str:
        """A language code guessed from the path: the built-in language's or the file's name."""
        if self.is_artificial:
            return self.path.removeprefix(ARTIFICIAL)
        return Path(self.path).stem

    @property
    def _builder(self) -> str | None:
        return _TABLES.get(Path(self.path).suffix)


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
    """The rows of a `datasets` table.

    Args:
        source: What to load.
        role: Split to load where the source names none.
        key: The option that gave the source, for error messages.

    Raises:
        LtsftError: If nothing could be loaded; the library refuses tables without rows.
    """

    def __init__(self, source: Source, role: str, key: str) -> None:
        self.source = source
        self.key = key
        self._rows = _load(source, role, key)
        if source.limit is not None:
            self._rows = self._rows.select(range(min(source.limit, len(self._rows))))

    @property
    def fingerprint(self) -> str:
        """The library's digest of what the rows are."""
        return str(self._rows._fingerprint)

    def has_column(self, holds: str, default: str) -> bool:
        """Whether there is a column; a column that the source names counts, there or not."""
        return holds in self.source.columns or default in self._rows.column_names

    def column(self, holds: str, default: str) -> Iterator[Any]:
        """The values of a column, label ids as label names.

        Args:
            holds: What the column holds; `columns` of the source may name the column by it.
            default: The column where the source does not name one.

        Raises:
            LtsftError: If there is no such column.
        """
        name = self.source.columns.get(holds, default)
        if name not in self._rows.column_names:
            raise LtsftError(
                f"`{self.key}.columns` is expected to name one of the columns "
                f"{', '.join(self._rows.column_names)} of {self.source.path} for `{holds}`, but "
                f"got {name!r}."
            )
        feature = self._rows.features[name]
        names = getattr(getattr(feature, "feature", None), "names", None)
        for value in self._rows[name]:
            yield value if names is None else [names[label] for label in value]


def _load(source: Source, role: str, key: str) -> Any:
    import datasets

    path, builder = Path(source.path), source._builder
    split = source.split or role
    reason = "no such file"
    if path.is_file() and builder:
        options: dict[str, Any] = {"sep": "\t"} if path.suffix == ".tsv" else {}
        # The one file is the whole table, whatever it is for.
        split = source.split or "train"
        arguments = {"path": builder, "data_files": str(path), **options}
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
