"""Loading tokenizers: what is refused, and the space before words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.errors import LtsftError
from tests.constructions import byte_level, train_tokenizer


def test_missing() -> None:
    with pytest.raises(LtsftError, match=r"`data.init_args.tokenizer` .* it is empty"):
        load_tokenizer("", 8)


def test_not_found(tmp_path: Path) -> None:
    with pytest.raises(LtsftError, match=r"no tokenizer could be loaded from '.*/none'") as caught:
        load_tokenizer(str(tmp_path / "none"), 8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [2, 65])
def test_length(make_tokenizer: Callable[..., str], length: int) -> None:
    name = make_tokenizer(max_length=64)
    with pytest.raises(LtsftError, match=rf"above 2 .* at most 64 .* but got {length}"):
        load_tokenizer(name, length)


def test_no_padding_token(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    with pytest.raises(LtsftError, match="expected to have a padding token"):
        load_tokenizer(str(tmp_path), 8)


@pytest.mark.parametrize("in_sequence", [False, True])
def test_byte_level_words_begin_with_a_space(tmp_path: Path, in_sequence: bool) -> None:
    """Words given one by one are tokenised as in running text (RoBERTa, ModernBERT)."""
    vocabulary = {"<pad>": 0, "<unk>": 1, "a": 2, "Ġa": 3, "b": 4, "Ġb": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    step = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([step]) if in_sequence else step
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path), 8)
    assert loaded(["a", "b"], is_split_into_words=True)["input_ids"] == [3, 5]
    assert loaded("a b")["input_ids"] == [3, 5]


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("in_sequence", [False, True])
def test_the_first_piece_begins_where_the_text_does(
    tmp_path: Path, as_released: bool, in_sequence: bool
) -> None:
    """Also in RobBERT's file, in which the step that trims blanks knows of no space before it."""
    made = train_tokenizer(byte_level, ["abc def x", "abc x"] * 3)
    backend = made.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=as_released)
    ends = ("</s>", 2), ("<s>", 0)
    roberta = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    backend.post_processor = processors.Sequence([roberta]) if in_sequence else roberta
    made.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), 128)
    text = "abc def x"
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    for token, (start, end) in zip(tokens, encoded["offset_mapping"], strict=True):
        assert text[start:end] == token.replace("Ġ", "")
