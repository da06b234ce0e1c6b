"""Tiny tokenizers, written to folders as models have them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

MakeTokenizer = Callable[..., str]


@pytest.fixture
def make_tokenizer(tmp_path: Path) -> MakeTokenizer:
    """Returns a function that writes a WordPiece tokenizer of letters and returns its folder.

    A word is one sub-word per letter; ``[PAD]`` has the id 0 or 1. Of a lone control character
    nothing is left.
    """

    def make(pad_id: int = 0, max_length: int = 512, mask: bool = True) -> str:
        special = ["[PAD]", "[CLS]"] if pad_id == 0 else ["[CLS]", "[PAD]"]
        special += ["[SEP]", "[UNK]", "[MASK]"]
        letters = "abcdefghijklmnopqrstuvwxyz"
        pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
        )
        names = {f"{token.strip('[]').lower()}_token": token for token in special}
        if not mask:
            del names["mask_token"]
        folder = tmp_path / f"tokenizer-{pad_id}-{max_length}-{mask}"
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            model_max_length=max_length,
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
            **names,
        ).save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Returns a function that writes text or bytes to a file and returns its path."""

    def make(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


@pytest.fixture(autouse=True)
def _datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
