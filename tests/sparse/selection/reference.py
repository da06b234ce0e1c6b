"""What criteria are judged by: a full stable sort, and modules whose every value is known."""

import torch
from torch import nn

from ltsft.sparse import Candidates, ScopeRules


def candidates(module, change=None, rules=None):
    """A module that started where it is, and has changed since by `change`."""
    scope = (rules or ScopeRules()).resolve(module)
    initial = {name: p.detach().clone() for name, p in module.named_parameters()}
    for name, delta in (change or {}).items():
        module.get_parameter(name).data += delta
    return Candidates(module, scope, initial)


def module_of(shapes, seed=0, dtype=torch.float32):
    """Parameters of given shapes with random values; names may not hold dots."""
    generator = torch.Generator().manual_seed(seed)
    return nn.ParameterDict(
        {n: nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for n, s in shapes.items()}
    )


def random_change(module, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator).to(p.dtype)
        for name, p in module.named_parameters()
    }


def first(scores, num_params):
    """Positions, over all tensors in order, that a full stable sort by falling score puts first."""
    flat = torch.cat([score.flatten().double() for score in scores.values()])
    return sorted(torch.sort(flat, descending=True, stable=True).indices[:num_params].tolist())


def chosen(mask):
    """Positions that a mask selects, over all tensors in order."""
    return torch.cat([tensor.flatten() for tensor in mask.values()]).nonzero().flatten().tolist()
