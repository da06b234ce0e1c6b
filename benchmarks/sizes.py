"""The models that are measured: real shapes, random weights."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BertConfig, BertForTokenClassification

from ltsft.sparse import Random, ScopeRules, Ticket


@dataclass(frozen=True)
class Size:
    """A model, a batch and a budget.

    Args:
        config: Of the encoder.
        num_params: K.
        num_sentences: Of a batch.
        length: Sub-words of a sentence.
    """

    config: BertConfig
    num_params: int
    num_sentences: int
    length: int

    def model(self) -> BertForTokenClassification:
        """A tagger of the size, the same each time."""
        torch.manual_seed(0)
        return BertForTokenClassification(self.config).train()

    def batch(self) -> dict[str, Tensor]:
        """Random sub-words, and a label for each."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.num_sentences, self.length)
        ids = torch.randint(5, self.config.vocab_size, shape, generator=generator)
        return {"input_ids": ids, "labels": torch.randint(0, 2, shape, generator=generator)}

    def ticket(self, model: BertForTokenClassification) -> Ticket:
        """θ⁰ of a model, with K entries selected at random."""
        rules = ScopeRules(whole=["classifier"], frozen=["type:*Norm"])
        ticket = Ticket(model, rules)
        ticket.select(Random(), self.num_params)
        return ticket


SIZES = {
    "tiny": Size(
        BertConfig(
            vocab_size=20_000,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1_024,
        ),
        num_params=400_000,
        num_sentences=8,
        length=64,
    ),
    "mbert": Size(BertConfig(vocab_size=119_547), 7_667_712, num_sentences=8, length=128),
    "xlmr": Size(BertConfig(vocab_size=250_002), 7_667_712, num_sentences=8, length=128),
}
