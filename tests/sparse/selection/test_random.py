"""Entries drawn at random."""

from itertools import combinations

import torch
from torch import nn

from ltsft.sparse import Random, Ticket
from tests.sparse.selection.reference import candidates


def test_random_is_a_function_of_the_seed_and_not_of_the_global_generator():
    module = nn.Linear(30, 30)
    first = Random(seed=1).select(candidates(module), 100)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = Random(seed=1).select(candidates(module), 100)
    other = Random(seed=2).select(candidates(module), 100)
    assert first.num_selected == 100
    assert first.digest() == again.digest() != other.digest()
    assert torch.equal(torch.get_rng_state(), state)


def test_each_purpose_has_a_draw_of_its_own():
    """A language's and a task's entries meet no more often than chance has it: 10 % of 1,000."""
    module = nn.Linear(100, 100, bias=False)
    masks = [
        Ticket(module, purpose=purpose).select(Random(), 1000)["weight"]
        for purpose in ("masked-lm hsb", "masked-lm mt", "pos", "")
    ]
    for one, other in combinations(masks, 2):
        assert abs(int((one & other).sum()) - 100) < 50
    again = Ticket(module, purpose="pos")
    again.load_state_dict(Ticket(module, purpose="masked-lm mt").state_dict())
    assert torch.equal(again.select(Random(), 1000)["weight"], masks[1])


def test_random_is_uniform():
    """Over many seeds each of 10 entries is chosen about 3 times in 10 (5 standard deviations)."""
    module = nn.ParameterDict(
        {"a": nn.Parameter(torch.zeros(4)), "b": nn.Parameter(torch.zeros(6))}
    )
    chosen, draws = torch.zeros(10), 2000
    for seed in range(draws):
        mask = Random(seed).select(candidates(module), 3)
        chosen += torch.cat([mask["a"], mask["b"]]).float()
    deviation = (draws * 0.3 * 0.7) ** 0.5
    assert (chosen - draws * 0.3).abs().max() < 5 * deviation
