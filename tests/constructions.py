"""Small random models of the real classes, with tokenizers of the real construction.

What is released under twelve well-known names differs in more than size: how text is cut, whether
there are positions, types, a pooling layer, a language model's head. Each is built here as its
release is, with some ten thousand numbers instead of hundreds of millions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
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
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MAX_LENGTH = 128
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

Made = tuple[Tokenizer, trainers.Trainer]


def wordpiece() -> Made:
    """BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL)


def byte_level(*before: Any) -> Made:
    """RoBERTa's and ModernBERT's."""
    tokenizer = Tokenizer(models.BPE())
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not before)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, bytes_of]) if before else bytes_of
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet
    )


def llama() -> Made:
    """EuroBERT's, after Llama 3's."""
    return byte_level(pre_tokenizers.Split(Regex(LLAMA), "isolated"))


def metaspace() -> Made:
    """XLM-R's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>"
    )


def deberta() -> Made:
    """DeBERTa-v3's."""
    tokenizer, trainer = metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return tokenizer, trainer


def gemma() -> Made:
    """mmBERT's, after Gemma's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    # SentencePiece, by which these are trained, merges no pieces of two words.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    return tokenizer, trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL)


def train_tokenizer(make: Callable[[], Made], lines: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of a construction, trained on some lines."""
    tokenizer, trainer = make()
    trainer.show_progress = False
    tokenizer.train_from_iterator([f" {line}" for line in lines], trainer)
    if make is gemma:  # what their files have; blanks are "▁" by then
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> $B:1 </s>:1", [("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>", model_max_length=MAX_LENGTH,
    )  # fmt: skip


class Construction(NamedTuple):
    """A release: its tokenizer, its class of transformers as it was saved, and its settings."""

    tokenizer: Callable[[], Made]
    saved_as: str
    settings: dict[str, Any] = {}

    def save(self, folder: Path, lines: list[str], seed: int = 0) -> str:
        """Write a random model and a tokenizer for some lines; returns the folder's name."""
        tokenizer = train_tokenizer(self.tokenizer, lines)
        model_class = getattr(transformers, self.saved_as)
        values = {
            "vocab_size": len(tokenizer),
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "cls_token_id": 0,
            "sep_token_id": 2,
            "max_position_embeddings": MAX_LENGTH + 2,
            **self.settings,
        }
        torch.manual_seed(seed)
        model_class(model_class.config_class(**values)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)


_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 24}  # fmt: skip
_DEBERTA = {
    "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
    "type_vocab_size": 0,
}  # fmt: skip
_MODERN = {"global_attn_every_n_layers": 3, "local_attention": 16}
_EURO = {"num_key_value_heads": 2, "head_dim": 8, "mask_token_id": 4}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
       "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}  # fmt: skip

CONSTRUCTIONS = {
    "BERT": Construction(wordpiece, "BertForMaskedLM", _SIZES),
    "RoBERTa": Construction(byte_level, "RobertaForMaskedLM", _SIZES | {"type_vocab_size": 1}),
    "XLM-R": Construction(metaspace, "XLMRobertaForMaskedLM", _SIZES | {"type_vocab_size": 1}),
    # A vocabulary of a million pieces: it is larger than the tokenizer's, as in other releases.
    "XLM-V": Construction(
        metaspace, "XLMRobertaForMaskedLM", _SIZES | {"type_vocab_size": 1, "vocab_size": 1200}
    ),
    "DeBERTa-v3": Construction(deberta, "DebertaV2ForMaskedLM", _SIZES | _DEBERTA),
    # Released without a language model's head: the discriminator.
    "ELECTRA": Construction(wordpiece, "ElectraForPreTraining", _SIZES | {"embedding_size": 8}),
    "DistilBERT": Construction(
        wordpiece,
        "DistilBertForMaskedLM",
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    ),
    "ALBERT": Construction(metaspace, "AlbertForMaskedLM", _SIZES | {"embedding_size": 8}),
    "ModernBERT": Construction(byte_level, "ModernBertForMaskedLM", _SIZES | _MODERN),
    "EuroBERT": Construction(llama, "EuroBertForMaskedLM", _SIZES | _EURO),
    "mmBERT": Construction(gemma, "ModernBertForMaskedLM", _SIZES | _MODERN),
    "mT5": Construction(metaspace, "MT5ForConditionalGeneration", _T5),
}
