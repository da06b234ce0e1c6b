"""One slot of a model trains, and nothing pretrained does."""

import pytest
import torch
from transformers import AutoModelForTokenClassification

from ltsft.modules.adapters.adapters import Adapters
from ltsft.tasks.trained_slot import TrainedSlot
from tests.tiny import save_base


@pytest.fixture
def model(tmp_path):
    return AutoModelForTokenClassification.from_pretrained(save_base(tmp_path / "base"))


def stays(name: str) -> bool:
    return not name.startswith("classifier")


def test_only_the_slot_and_what_does_not_stay_train(model):
    slot = TrainedSlot(model, Adapters(), "task", stays)
    training = {name for name, p in model.named_parameters() if p.requires_grad}
    assert slot.parameters
    assert training == {*slot.parameters, "classifier.weight", "classifier.bias"}
    assert slot.metadata()["slots"].keys() == {"task"}


def test_it_is_filled_once(model):
    """From the global random state; what was filled already is trained further."""
    slot = TrainedSlot(model, Adapters(), "task", stays)
    assert all(bool((p == 0).all()) for p in slot.parameters.values())
    torch.manual_seed(0)
    slot.fill()
    first = {name: p.detach().clone() for name, p in slot.parameters.items()}
    assert any(bool((p != 0).any()) for p in first.values())
    slot.fill()
    assert all(torch.equal(p, first[name]) for name, p in slot.parameters.items())


def test_an_empty_slot_changes_no_output(model):
    ids = torch.randint(5, 60, (2, 6))
    with torch.no_grad():
        before = model.eval()(ids).logits
        TrainedSlot(model, Adapters(), "task", stays)
        assert torch.equal(model.eval()(ids).logits, before)
