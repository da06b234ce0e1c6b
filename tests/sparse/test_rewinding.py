"""Where the sparse phase starts, tensor by tensor; whole fits are in tests/callbacks."""

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import (
    LargestChange,
    LearningRate,
    Mask,
    Prune,
    ScopeRules,
    Sign,
    Ticket,
    ToStart,
    ToStep,
)

BEFORE, AFTER, EARLY = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 9.0]), torch.zeros(3)
SELECTED = torch.tensor([True, True, False])


@pytest.mark.parametrize(
    ("rewinding", "selected", "head"),
    [
        (ToStart(), [1.0, 2.0], "before"),
        (ToStep(5), [0.0, 0.0], "early"),
        (LearningRate(), [2.0, 0.0], "after"),
        (Prune(), [2.0, 0.0], "after"),
        (Sign(), [1.0 + 1.5, 2.0 - 1.5], "before"),  # the mean size of 1 and 2
    ],
    ids=str,
)
def test_selected_entries_and_heads(rewinding, selected, head):
    """The unselected one is as before, whatever the rule."""
    module = nn.ParameterDict({name: nn.Parameter(BEFORE.clone()) for name in ("w", "h")})
    ticket = Ticket(module, ScopeRules(whole=["h"]))
    ticket.put({"w": EARLY, "h": EARLY})
    ticket.keep_early()
    ticket.put({"w": AFTER, "h": AFTER})
    ticket.mask = Mask({"w": SELECTED})
    ticket.rewind(rewinding)
    assert module["w"].tolist() == [*selected, 3.0]
    expected = {"before": BEFORE, "early": EARLY, "after": AFTER}[head]
    assert torch.equal(module["h"], expected)


def test_a_step_below_1_is_refused():
    with pytest.raises(LtsftError, match="`sparse.rewinding.step` .* 1 or more"):
        ToStep(0)


def test_of_a_compiled_module_the_weights_are_kept_too():
    """Compiling puts a word into the names of its state."""
    module = torch.compile(nn.Linear(2, 1, bias=False))
    ticket = Ticket(module)
    with torch.no_grad():
        module.weight += torch.tensor([[1.0, 2.0]])
    after = module.weight[0, 1].item()
    ticket.select(LargestChange(), 1)
    ticket.rewind(LearningRate())
    assert module.weight[0].tolist() == [ticket.initial["weight"][0, 0].item(), after]
