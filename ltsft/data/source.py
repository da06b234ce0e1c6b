"""Where examples come from: a file, a built-in language, or a table."""

import re
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

from ltsft.errors import LtsftError
from ltsft.files import (
    ARTIFICIAL,
    DATA_SUFFIXES,
    PARQUET,
    STDIN,
    TABLE_SUFFIXES,
    check_language,
)

_ROLE_NAMES = ("train", "dev", "valid", "validation", "test", "predict")
"""Names of files that say what they are for, and not whose language they are in."""

_SPLITS = {"predict": "test"}
"""Splits that are not named like the role they are for."""


@dataclass
class Source:
    """Where examples come from.

    Args:
        path: A local file, or ``-`` for what comes through a pipe; ``artificial:<language>`` for a
            built-in language; or what
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
        """Whether it is a local file, in whatever format, or what comes through a pipe."""
        return self.path == STDIN or (not self.is_artificial and Path(self.path).is_file())

    @property
    def is_missing(self) -> bool:
        """Whether it is called like a local file, and there is none."""
        is_named_like_one = Path(self.path).suffix in DATA_SUFFIXES or self.path.startswith("/")
        return is_named_like_one and not self.is_artificial and not Path(self.path).exists()

    @property
    def is_text_table(self) -> bool:
        """Whether it is a local file that :func:`~ltsft.data.formats.rows.read_rows` reads."""
        return self.is_file and Path(self.path).suffix in TABLE_SUFFIXES

    @property
    def is_plain_file(self) -> bool:
        """Whether it is a local file in a data module's own format, not a table."""
        return self.is_file and Path(self.path).suffix not in (*TABLE_SUFFIXES, PARQUET)

    @property
    def language(self) -> str:
        """A language code guessed from the path: the built-in language's, or of the file's name.

        Of a name that begins with two or three small letters, like ``hsb-test`` or
        ``en_ewt-ud-train``, these; of ``hsb/test.conllu`` the folder; else the whole name. What
        comes through a pipe, or has no name of its own, is ``und``, undetermined.
        """
        if self.is_artificial:
            return self.path.removeprefix(ARTIFICIAL)
        if self.path == STDIN:
            return "und"
        stem = Path(self.path).stem
        if stem in _ROLE_NAMES:
            stem = Path(self.path).absolute().parent.name if "/" in self.path else "und"
        code = re.match(r"[a-z]{2,3}(?=[-_.])", stem)
        return code[0] if code else stem

    def split_for(self, role: str) -> str:
        """The split to take where there are several: the one that was asked for, or the role's."""
        return self.split or _SPLITS.get(role, role)


Part = str | Source
"""Where some data are: a path, or more about it."""

Sources = dict[str, Part | list[Part]] | Part | list[Part]
"""Where data are: in one place or a list of them, whose languages their names tell; or language
code → place or places."""


def names_languages(sources: Sources | None) -> bool:
    """Whether data are said by language, and not only where they are."""
    return isinstance(sources, dict) and "path" not in sources


def by_language(sources: Sources | None, option: str) -> dict[str, list[Source]]:
    """Where the data of each language are, in whatever form that was said.

    Args:
        sources: The form.
        option: The option that says it.

    Raises:
        LtsftError: If a code, given or told by a name, cannot be that of files.

    Example:
        >>> by_language(["en-a.txt", "en-b.txt", "hsb.txt"], "data.train").keys()
        dict_keys(['en', 'hsb'])
    """
    found: dict[str, list[Source]] = {}
    if isinstance(sources, dict) and not names_languages(sources):
        sources = Source(**sources)  # type: ignore[arg-type]
    if isinstance(sources, dict):
        for language, parts in sources.items():
            check_language(language, option)
            places = parts if isinstance(parts, list) else [parts]
            found[language] = [Source.of(place, f"{option}.{language}") for place in places]
        return found
    for place in sources if isinstance(sources, list) else [sources] if sources else []:
        source = Source.of(place, option)
        check_language(source.language, option)
        found.setdefault(source.language, []).append(source)
    return found
