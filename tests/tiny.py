"""Small random models and tokenizers for tests, made in place."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
)

WORDS = [f"w{n}" for n in range(60)]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
VOCABULARY = {token: id for id, token in enumerate([*SPECIAL, *WORDS])}


def tokenizer() -> PreTrainedTokenizerFast:
    """One piece per word; the pad id is 1, as in XLM-R."""
    base = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    base.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=base,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )


def _settings(**names: int) -> dict[str, int]:
    return {"vocab_size": len(VOCABULARY), "pad_token_id": 1, "max_position_embeddings": 70} | names


CONFIGS = {
    "bert": lambda: BertConfig(
        **_settings(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
    ),
    "xlmr": lambda: XLMRobertaConfig(
        **_settings(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
    ),
    "distilbert": lambda: DistilBertConfig(
        **_settings(dim=16, n_layers=2, n_heads=2, hidden_dim=24)
    ),
    "modernbert": lambda: ModernBertConfig(
        **_settings(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            bos_token_id=0,
            eos_token_id=2,
            cls_token_id=0,
            sep_token_id=2,
        )
    ),
}


def save_base(folder: Path, kind: str = "bert", seed: int = 0) -> str:
    """Write a random masked language model and its tokenizer; returns the folder's name."""
    torch.manual_seed(seed)
    AutoModelForMaskedLM.from_config(CONFIGS[kind]()).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def save_artificial_base(folder: Path, seed: int = 0) -> str:
    """Write a random small BERT that knows the built-in languages' sub-words.

    Its positions are sinusoids, and its attention is sharper than BERT's own start: so it learns a
    task on such a language within seconds, which from that start it does not.
    """
    from ltsft.data.artificial import family

    tokenizer = family(0).tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        initializer_range=0.05,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(seed)
    model = AutoModelForMaskedLM.from_config(config)
    angles = torch.arange(128.0)[:, None] / 100.0 ** (torch.arange(0, 64, 2) / 64)
    positions = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    model.bert.embeddings.position_embeddings.weight.data = 0.1 * positions
    for name, parameter in model.named_parameters():
        if "query.weight" in name or "key.weight" in name:
            parameter.data *= 3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
