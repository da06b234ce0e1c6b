"""Parsed sentences from every kind of source."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ltsft.data import Source
from ltsft.data.artificial import family
from ltsft.data.formats.conllu import format_sentence
from ltsft.data.labels import RELATIONS
from ltsft.data.parsed import read_parsed
from ltsft.errors import LtsftError

TREEBANKS = Path(__file__).parents[3] / "shared/data/ud"


@pytest.mark.skipif(not TREEBANKS.exists(), reason="no real treebanks here")
def test_real_treebanks_have_trees_and_universal_relations() -> None:
    """Every sentence of every treebank is a tree, with relations of the inventory alone."""
    paths = sorted(TREEBANKS.glob("*/*.conllu"))
    assert len({path.parent for path in paths}) == 21
    for path in paths:
        for sentence in read_parsed(Source(str(path)), "test"):
            assert set(sentence.relations) <= set(RELATIONS)


def test_every_kind_of_source_gives_the_same_sentences(write: Callable[..., str]) -> None:
    """A built-in language, and what is written of it as CoNLL-U and as a table."""
    made = family(0)["besku"].sentences(12)
    conllu = "".join(
        format_sentence(s.words, {4: s.tags, 7: [str(head) for head in s.heads], 8: s.relations})
        for s in made
    )
    rows = "".join(
        json.dumps({"tokens": s.words, "head": s.heads, "deprel": s.relations}) + "\n" for s in made
    )
    sources = [
        Source("artificial:besku", limit=12),
        Source(write("a.conllu", conllu)),
        Source(write("a.jsonl", rows)),
    ]
    for source in sources:
        sentences = read_parsed(source, "train")
        assert [(s.words, s.heads, s.relations) for s in sentences] == [
            (s.words, s.heads, s.relations) for s in made
        ]
        source.limit = 3
        assert read_parsed(source, "train") == sentences[:3]


def test_trees_may_be_missing_where_they_are_not_needed(write: Callable[..., str]) -> None:
    bare = format_sentence(["a", "b"], {})
    source = Source(write("a.conllu", bare))
    (sentence,) = read_parsed(source, "predict", trees=False)
    assert (sentence.words, sentence.heads) == (["a", "b"], [-1, -1])
    with pytest.raises(LtsftError, match="line 1: the head .* is missing"):
        read_parsed(source, "test")
