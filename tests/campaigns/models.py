"""Models that files are applied to."""

from types import SimpleNamespace

import torch
from torch import nn

from ltsft.modules.adapters.insertion import insert_adapters
from ltsft.sparse.ledger import base_digests
from tests.campaigns.sft_files import MODEL
from tests.exchange import hub
from tests.sparse.net import Net, sft


class Models:
    """Models to apply to, kept as long as nothing is wrong with them."""

    def __init__(self) -> None:
        self.digests = base_digests(Net(), MODEL)
        self.other = sft(1)
        self.by_kind: dict[str, nn.Module] = {
            "float32": _with_labels(),
            "bfloat16": Net(dtype=torch.bfloat16),
            "float16": Net(dtype=torch.float16),
            "float64": Net(dtype=torch.float64),
            "tied": Net(tied=True),
            "bare": _bare(),
            "strided": _strided(),
            "with NaN": _with_nan(),
        }
        self._with_adapters: dict[str, nn.Module] = {}

    def with_adapters(self) -> nn.Module:
        """A small BERT that has slots for a language and a task."""
        if not self._with_adapters:
            from transformers import AutoModelForTokenClassification, BertConfig

            config = BertConfig(
                vocab_size=30,
                hidden_size=hub.H,
                num_hidden_layers=hub.L,
                num_attention_heads=2,
                intermediate_size=24,
                num_labels=3,
            )
            model = AutoModelForTokenClassification.from_config(config)
            insert_adapters(model, hub.OPTIONS)
            self._with_adapters["model"] = model
        return self._with_adapters["model"]


def _bare() -> nn.Module:
    class Bare(nn.Module):
        base_model_prefix = "encoder"

        def __init__(self) -> None:
            super().__init__()
            net = Net()
            self.emb, self.lin = net.encoder["emb"], net.encoder["lin"]

    return Bare()


def _with_labels() -> nn.Module:
    model = Net()
    model.config = SimpleNamespace(id2label={0: "A", 1: "B", 2: "C"})
    return model


def _strided() -> nn.Module:
    model = Net()
    for layer in model.encoder.values():
        layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())
    return model


def _with_nan() -> nn.Module:
    model = Net()
    with torch.no_grad():
        model.encoder["emb"].weight[::3] = float("nan")
        model.head.bias[0] = float("nan")
    return model
