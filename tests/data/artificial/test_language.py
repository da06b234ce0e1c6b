"""Sentences of the artificial languages: the same each time, in one split each, well annotated."""

from itertools import combinations

import pytest

from ltsft.data.artificial import family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.errors import LtsftError

# fmt: off

SPLITS = ("train", "validation", "test")

each_language = pytest.mark.parametrize("name", WORD_ORDERS)


@pytest.fixture(scope="module")
def languages():
    return family(0)






@each_language
def test_asking_for_more_gives_the_same_beginning(languages, name):
    language = languages[name]
    for split in SPLITS:
        assert language.sentences(40, split)[:15] == language.sentences(15, split)
        assert language.text(40, split)[:15] == language.text(15, split)
        assert language.pairs(40, split)[:16] == language.pairs(16, split)
    assert language.sentences(0) == language.text(0) == language.pairs(0) == []


@each_language
def test_no_sentence_is_in_two_splits(languages, name):
    """Neither a sentence nor a premise, nor a premise of one among the sentences of another."""
    seen = {
        split: set(languages[name].text(1500, split))
        | {pair.premise for pair in languages[name].pairs(600, split)}
        for split in SPLITS
    }
    for one, other in combinations(SPLITS, 2):
        assert not seen[one] & seen[other]
    assert all(len(texts) > 1000 for texts in seen.values())  # not one sentence again and again










@each_language
def test_text_is_the_words(languages, name):
    sentences = languages[name].sentences(200)
    assert languages[name].text(200) == [" ".join(sentence.words) for sentence in sentences]
    for sentence in sentences:
        assert sentence.words[-1] == "."
        assert all(word.isalpha() and word.islower() for word in sentence.words[:-1])






def test_mistakes(languages):
    with pytest.raises(LtsftError, match="one of alora, .* but got 'klingon'"):
        languages["klingon"]
    with pytest.raises(LtsftError, match="`split` is expected to be one of train, .* 'dev'"):
        languages["alora"].sentences(1, "dev")
    with pytest.raises(LtsftError, match="expected to be 0 or more, but got -1"):
        languages["alora"].pairs(-1)
