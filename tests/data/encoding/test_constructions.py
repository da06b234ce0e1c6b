"""Words given one by one get the pieces of the running text, whatever a tokenizer is made of.

Small tokenizers of the real constructions, trained on a few lines; judged by each tokenizer itself,
as it was saved, on the words with blanks between them.
"""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from ltsft.data.encoding.blocks import cut_blocks
from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.data.encoding.words import tokenize_words
from tests.constructions import (
    byte_level,
    deberta,
    gemma,
    llama,
    metaspace,
    train_tokenizer,
    wordpiece,
)

LINES = [
    "We don't pay 123456 U.S. dollars, do we?",
    "They're here; I'll go at 10:30!",
    "naïve café",
]
SENTENCES = [
    ["We", "don't", "pay", "123456", "U.S.", "dollars"],
    ["naïve", "(", "café", ")", "they're", "10:30", "!"],
    ["x"],
]
CONSTRUCTIONS = {
    "BERT": wordpiece,
    "RoBERTa, ModernBERT": byte_level,
    "XLM-R": metaspace,
    "DeBERTa-v3": deberta,
    "Llama 3, EuroBERT": llama,
    "Gemma, mmBERT": gemma,
}


@pytest.fixture(params=CONSTRUCTIONS)
def name(request):
    train_tokenizer(CONSTRUCTIONS[request.param], LINES * 3).save_pretrained("tokenizer")
    return str(Path("tokenizer"))


def test_words_get_the_pieces_of_running_text(name):
    """The first word as behind another one: those who mark a word's beginning mark each."""
    as_saved = AutoTokenizer.from_pretrained(name)
    columns = tokenize_words(SENTENCES, load_tokenizer(name, 128), 128)
    for number, words in enumerate(SENTENCES):
        text = " ".join(words)
        running = [as_saved(t, add_special_tokens=False)["input_ids"] for t in (f" {text}", text)]
        ids = columns["input_ids"][number].tolist()[1:-1]
        assert ids in running, as_saved.convert_ids_to_tokens(ids)
        if (
            ids != running[0]
        ):  # a tokenizer for which a space at the beginning is a piece of its own
            assert len(running[0]) > len(running[1])


def test_words_begin_where_their_own_pieces_do(name):
    """Pieces of a word, put together again, are the word."""
    tokenizer = load_tokenizer(name, 128)
    columns = tokenize_words(SENTENCES, tokenizer, 128)
    for number, words in enumerate(SENTENCES):
        ids, owners = columns["input_ids"][number].tolist(), columns["word_ids"][number].tolist()
        starts = columns["word_starts"][number].tolist()
        assert [owners.index(word) for word in range(len(words))] == starts
        for word, form in enumerate(words):
            of_word = [i for i, owner in zip(ids, owners, strict=True) if owner == word]
            if tokenizer.unk_token_id not in of_word:
                text = tokenizer.decode(of_word, clean_up_tokenization_spaces=False)
                assert text.replace("▁", "").replace("##", "").replace(" ", "") == form


def test_running_text_is_tokenised_as_the_model_does(name):
    """With at most the one space at its beginning that words have, and none inside of a word."""
    as_saved, loaded = AutoTokenizer.from_pretrained(name), load_tokenizer(name, 128)
    for line in LINES:
        expected = [as_saved(text)["input_ids"] for text in (line, f" {line}")]
        assert loaded(line)["input_ids"] in expected


def test_blocks_have_the_pieces_of_each_line(name):
    """Against the tokenizer that was saved, asked line by line; one that cut the last call too."""
    as_saved = AutoTokenizer.from_pretrained(name)
    tokenizer = load_tokenizer(name, 128)
    tokenizer(LINES, truncation=True, max_length=3, padding=True)
    expected = []
    for line in LINES:
        pieces = as_saved(line, add_special_tokens=False)["input_ids"]
        spaced = as_saved(f" {line}", add_special_tokens=False)["input_ids"]
        same = tokenizer(line, add_special_tokens=False)["input_ids"]
        assert same in (pieces, spaced)
        expected += same
    blocks, is_text = cut_blocks(LINES, tokenizer, 8, option="x")
    assert blocks[:, is_text].flatten().tolist() == expected[: len(blocks) * int(is_text.sum())]
