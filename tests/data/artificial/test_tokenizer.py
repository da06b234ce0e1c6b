"""The family's tokenizer knows every word of every language."""

import pytest

from ltsft.data.artificial import family
from ltsft.errors import LtsftError


@pytest.fixture(scope="module")
def languages():
    return family(0)


@pytest.mark.parametrize("vocab_size", [60, 1000])
def test_nothing_is_unknown(languages, vocab_size):
    """In any split, also of sentences that were not counted, also with hardly more than letters."""
    tokenizer = languages.tokenizer(vocab_size, num_sentences=200)
    assert len(tokenizer) <= vocab_size
    lines = [
        line
        for name in languages
        for split in ("train", "validation", "test")
        for line in languages[name].text(300, split)
    ]
    encoded = tokenizer(lines)["input_ids"]
    assert not any(tokenizer.unk_token_id in ids for ids in encoded)
    for line, ids in zip(lines, encoded, strict=True):
        pieces = tokenizer.convert_ids_to_tokens(ids)
        assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
        words = " ".join(pieces[1:-1]).replace(" ##", "")
        assert words == line


def test_stems_and_endings_are_pieces(languages):
    """With room for them, nearly all words are a stem and endings of two letters."""
    tokenizer = languages.tokenizer()
    stems = {
        stem
        for language in languages.values()
        for words in language.grammar.lexicon.stems.values()
        for stem in words
    }
    words = {
        word for name in languages for line in languages[name].text(300) for word in line.split()
    }
    whole = [word for word in words if tokenizer.tokenize(word)[0] in stems | {"."}]
    assert len(whole) > 0.95 * len(words)


def test_it_looks_like_berts(languages):
    tokenizer = languages.tokenizer()
    assert tokenizer.pad_token_id == 0
    assert tokenizer.mask_token_id is not None
    encoded = tokenizer("a", "b", return_token_type_ids=True)
    pieces = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert pieces == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
    assert encoded["token_type_ids"] == [0, 0, 0, 1, 1]


def test_the_same_each_time(languages):
    assert languages.tokenizer().get_vocab() == family(0).tokenizer().get_vocab()


def test_too_small(languages):
    with pytest.raises(LtsftError, match="`vocab_size` is expected to be at least"):
        languages.tokenizer(20)
