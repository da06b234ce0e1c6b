"""Where examples come from: a file, a built-in language, or a table."""

from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

from ltsft.data.formats.rows import SUFFIXES
from ltsft.errors import LtsftError

ARTIFICIAL = "artificial:"

PARQUET = ".parquet"

_SPLITS = {"predict": "test"}
"""Splits that are not named like the role they are for."""


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
        # Set by `of`; no field, hence no key in YAML, and no part of what makes two sources equal.
        self.option: str = "source"
        if not self.path:
            raise LtsftError("`path` of a data source is expected to name one, but it is empty.")
        if self.limit is not None and self.limit < 1:
            raise LtsftError(
                f"`limit` of the data source {self.path} is expected to be 1 or more, but got "
                f"{self.limit}; leave it out to read everything."
            )

    @classmethod
    def of(cls, value: "str | Source", option: str | None = None) -> "Source":
        """A source that knows where it was asked for.

        Args:
            value: A plain string is a source with that path; of a source it is a copy.
            option: The option that names the source, which errors then show.
        """
        source = cls(path=value) if isinstance(value, str) else copy(value)
        source.option = option or source.option
        return source

    @property
    def is_artificial(self) -> bool:
        """Whether it is a built-in language."""
        return self.path.startswith(ARTIFICIAL)

    @property
    def is_file(self) -> bool:
        """Whether it is a local file, in whatever format."""
        return not self.is_artificial and Path(self.path).is_file()

    @property
    def is_text_table(self) -> bool:
        """Whether it is a local file that :func:`~ltsft.data.formats.rows.read_rows` reads."""
        return self.is_file and Path(self.path).suffix in SUFFIXES

    @property
    def is_plain_file(self) -> bool:
        """Whether it is a local file in a data module's own format, not a table."""
        return self.is_file and Path(self.path).suffix not in (*SUFFIXES, PARQUET)

    @property
    def language(self) -> str:
        """A language code guessed from the path: the built-in language's or the file's name."""
        if self.is_artificial:
            return self.path.removeprefix(ARTIFICIAL)
        return Path(self.path).stem

    def split_for(self, role: str) -> str:
        """The split to take where there are several: the one that was asked for, or the role's."""
        return self.split or _SPLITS.get(role, role)


Sources = dict[str, str | Source]
"""Language code → where its data is."""
