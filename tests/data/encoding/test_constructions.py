"""Words given one by one get the pieces of the running text, whatever a tokenizer is made of.

Small tokenizers of the real constructions, trained on a few lines; judged by each tokenizer itself,
as it was saved, on the words with blanks between them.
"""

from pathlib import Path

import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ltsft.data.encoding.tokenization import tokenize_words
from ltsft.data.encoding.tokenizer import load_tokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
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
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL)


def byte_level(*before):
    tokenizer = Tokenizer(models.BPE())
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not before)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, bytes_of]) if before else bytes_of
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet
    )


def llama():
    return byte_level(pre_tokenizers.Split(Regex(LLAMA), "isolated"))


def metaspace():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>"
    )


def deberta():
    tokenizer, trainer = metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return tokenizer, trainer


def gemma():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # SentencePiece, by which these are trained, merges no pieces of two words.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    return tokenizer, trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL)


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
    tokenizer, trainer = CONSTRUCTIONS[request.param]()
    trainer.show_progress = False
    tokenizer.train_from_iterator([f" {line}" for line in LINES] * 3, trainer)
    if request.param == "Gemma, mmBERT":  # what their files have; blanks are "▁" by then
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>", model_max_length=128,
    ).save_pretrained("tokenizer")  # fmt: skip
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
