"""A family: the same on every machine, with known members."""

import hashlib

import pytest

from ltsft.data.artificial import family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.errors import LtsftError

SPLITS = ("train", "validation", "test")


def digest(languages) -> str:
    hasher = hashlib.sha256()
    for name in languages:
        for split in SPLITS:
            for sentence in languages[name].sentences(20, split):
                hasher.update(repr(sentence).encode())
            for pair in languages[name].pairs(20, split):
                hasher.update(repr(pair).encode())
    return hasher.hexdigest()


def test_a_seed_is_a_family():
    """The same on every machine; another checksum makes other numbers of all that were reported."""
    assert digest(family(0)) == "d9e2e73af9aedd62bb1f1ff64e9c2cc4fc72f186929f8347b207701b63259c7e"
    assert digest(family(0)) == digest(family(0)) != digest(family(1))


def test_members() -> None:
    languages = family(4)
    assert list(languages) == list(WORD_ORDERS)
    assert len(languages) == len(WORD_ORDERS)
    assert "elmu" in languages
    assert "klingon" not in languages
    for name, language in languages.items():
        assert (language.name, language.seed) == (name, 4)
        assert language.grammar.order == WORD_ORDERS[name]
    with pytest.raises(LtsftError, match="one of alora, .* but got 'klingon'"):
        languages["klingon"]
