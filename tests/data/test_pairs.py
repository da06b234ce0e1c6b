"""Labelled texts: from tables and built-in languages, with and without labels."""

from collections.abc import Callable

import pytest

from ltsft.data.artificial import family
from ltsft.data.pairs import LabelledTexts, read_pairs
from ltsft.data.source import Source
from ltsft.errors import LtsftError

TEXTS = ["premise", "hypothesis"]


def test_tables(write: Callable[..., str]) -> None:
    """Dashes and nothing are no labels, numbers are names, columns go by what they hold."""
    path = write("a.tsv", "a\tb\tlabel\nx\ty\tneutral\nx\tz\t-\nx\t\t\n")
    columns = {"premise": "a", "hypothesis": "b"}
    expected = [
        LabelledTexts(("x", "y"), "neutral"),
        LabelledTexts(("x", "z"), None),
        LabelledTexts(("x", ""), None),
    ]
    assert read_pairs(Source(path, columns=columns), "test", texts=TEXTS) == expected
    limited = Source(path, columns=columns, limit=1)
    assert read_pairs(limited, "test", texts=TEXTS) == expected[:1]
    path = write("a.jsonl", '{"text": "x", "label": 3}\n{"text": "y", "label": null}\n')
    assert read_pairs(Source(path), "test", texts=["text"]) == [
        *(LabelledTexts(("x",), "3"), LabelledTexts(("y",), None))
    ]


def test_a_table_without_labels(write: Callable[..., str]) -> None:
    """It has none, unless the source says where they should be."""
    path = write("a.jsonl", '{"text": "x"}\n')
    assert read_pairs(Source(path), "test", texts=["text"]) == [LabelledTexts(("x",), None)]
    source = Source.of(Source(path, columns={"label": "gold"}), "k")
    with pytest.raises(LtsftError, match="`k.columns` .* columns text of .* but got 'gold'"):
        read_pairs(source, "test", texts=["text"])


def test_built_in_languages() -> None:
    pairs = family(2)["dorin"].pairs(5, "validation")
    source = Source("artificial:dorin", limit=5, seed=2)
    assert read_pairs(source, "validation", texts=TEXTS) == [
        LabelledTexts((pair.premise, pair.hypothesis), pair.label) for pair in pairs
    ]


def test_other_files_are_refused(write: Callable[..., str]) -> None:
    with pytest.raises(LtsftError, match=r"`k` is expected to be a table .*a.txt is named like no"):
        read_pairs(Source.of(write("a.txt", "x"), "k"), "test", texts=TEXTS)
