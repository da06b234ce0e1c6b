"""A small encoder with a head, and fine-tunings for it."""

import torch
from torch import nn

from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse.ledger import base_digests


class Net(nn.Module):
    """An encoder with embeddings, a head, and optionally an output tied to the embeddings."""

    base_model_prefix = "encoder"

    def __init__(self, head="head", outputs=3, tied=False, dtype=torch.float32, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.ModuleDict({"emb": nn.Embedding(20, 4), "lin": nn.Linear(4, 4)})
        setattr(self, head, nn.Linear(4, outputs))
        if tied:
            self.out = nn.Linear(4, 20, bias=False)
            self.out.weight = self.encoder["emb"].weight
        self.to(dtype)


def sft(seed, k=9, whole=None, model=None, **metadata):
    """Random differences on the encoder of `Net`, as training would leave them."""
    model = model or Net()
    generator = torch.Generator().manual_seed(seed)
    entries = {}
    for name in ("encoder.emb.weight", "encoder.lin.weight"):
        shape = tuple(model.get_parameter(name).shape)
        size = torch.Size(shape).numel()
        indices = torch.randperm(size, generator=generator)[:k].sort().values
        entries[name] = SparseDelta(shape, indices, torch.randn(k, generator=generator))
    digests = base_digests(model, entries)
    return SparseFineTuning(
        entries, whole or {}, Metadata(base_digests=digests, base_model="net", **metadata)
    )


def bits(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_untouched(model, before):
    for name, value in bits(model).items():
        now, then = (t.contiguous().view(torch.uint8) for t in (value, before[name]))
        assert torch.equal(now, then), name
