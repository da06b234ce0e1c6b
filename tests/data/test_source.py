"""Sources: files, built-in languages, tables; and one clear line where there is none."""

import inspect
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from ltsft.data.source import Source, by_language
from ltsft.errors import LtsftError


def test_source_out_of_range() -> None:
    with pytest.raises(LtsftError, match="`path` of a data source .* empty"):
        Source("")
    with pytest.raises(LtsftError, match="`limit` of the data source x .* got 0"):
        Source("x", limit=0)


def test_a_source_knows_its_option() -> None:
    """A copy does; it is no part of what the source is, so neither of YAML nor of equality."""
    plain = Source("a.txt", limit=3)
    source = Source.of(plain, "data.init_args.train.en")
    assert (source.option, plain.option) == ("data.init_args.train.en", "source")
    assert source == plain
    source.limit = 1
    assert plain.limit == 3
    assert Source.of(source).option == source.option
    assert Source.of("a.txt", "k") == Source("a.txt")
    names = [field.name for field in fields(Source)]
    assert names == ["path", "config", "split", "revision", "columns", "limit", "seed"]
    assert list(inspect.signature(Source).parameters) == names
    assert list(asdict(source)) == names


def test_a_language_is_guessed_from_the_path() -> None:
    assert Source("artificial:elmu").language == "elmu"
    assert Source("texts/hsb.txt").language == "hsb"


def test_the_split_is_that_of_the_role_unless_named() -> None:
    """There is no split to predict for; it is the test's."""
    assert [Source("x").split_for(role) for role in ("train", "validation", "test", "predict")] == [
        *("train", "validation", "test", "test")
    ]
    assert Source("x", split="dev").split_for("test") == "dev"


def test_kinds_of_files(write: Callable[..., str]) -> None:
    """By name, and only where there is a file; a built-in language is none."""
    names = ("a.conllu", "a.tsv", "a.parquet")
    sources = [Source(write(name, "x")) for name in names]
    assert [s.is_file for s in sources] == [True, True, True]
    assert [s.is_plain_file for s in sources] == [True, False, False]
    assert [s.is_text_table for s in sources] == [False, True, False]
    for source in (Source("artificial:elmu"), Source("no/such.tsv"), Source(str(Path.cwd()))):
        assert not any((source.is_file, source.is_plain_file, source.is_text_table))


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (None, {}),
        ("", {}),
        ("en-train.conllu", {"en": ["en-train.conllu"]}),
        ("en_ewt-ud-train.conllu", {"en": ["en_ewt-ud-train.conllu"]}),
        ("wikipedia.txt", {"wikipedia": ["wikipedia.txt"]}),
        (
            ["ud/hsb/test.conllu", "ud/mt/test.conllu"],
            {"hsb": ["ud/hsb/test.conllu"], "mt": ["ud/mt/test.conllu"]},
        ),
        ("train.conllu", {"und": ["train.conllu"]}),
        ("-", {"und": ["-"]}),
        (["en-a.txt", "hsb.txt", "en-b.txt"], {"en": ["en-a.txt", "en-b.txt"], "hsb": ["hsb.txt"]}),
        ({"no": "x.txt", "en": ["a.txt", "b.txt"]}, {"no": ["x.txt"], "en": ["a.txt", "b.txt"]}),
        ({"path": "hsb.txt"}, {"hsb": ["hsb.txt"]}),
    ],
)
def test_every_form_comes_to_the_same(sources, found) -> None:
    """A path, a list, a mapping by language; languages are told or guessed."""
    by = by_language(sources, "data.train")
    assert {code: [source.path for source in parts] for code, parts in by.items()} == found
    named = isinstance(sources, dict) and "path" not in sources
    for code, parts in by.items():
        assert {p.option for p in parts} == {f"data.train.{code}" if named else "data.train"}
