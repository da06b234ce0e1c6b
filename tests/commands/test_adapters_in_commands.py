"""What the commands make of an adapter."""

import json

import pytest
import torch

from ltsft.cli import main
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters, slot_modules
from ltsft.sparse import Metadata, SparseFineTuning
from ltsft.tasks import MaskedLM
from tests.tiny import save_base


@pytest.fixture
def adapter(tmp_path):
    """A language's, for the tiny BERT: width 8, one of two layers, invertible."""
    base = save_base(tmp_path / "base")
    model = MaskedLM(base_model=base).model
    slots = insert_adapters(model, Adapters(), "language")
    whole = {
        f"{path}.{name}": torch.ones_like(parameter)
        for path, module in slot_modules(model, "language").items()
        for name, parameter in module.named_parameters()
    }
    metadata = Metadata(
        base_model=base,
        task="masked-lm",
        slots={name: slot.to_json() for name, slot in slots.items()},
    )
    SparseFineTuning({}, whole, metadata).save_pretrained(tmp_path / "adapter")
    return str(tmp_path / "adapter")


def test_inspect_shows_the_size_beside_the_nominal_one(adapter, capsys):
    """16·8·2 + 8 + 16 in a layer, 2·16·4 + 2·4 + 16 invertible; nominal 2·2·16·8 + 16²."""
    assert main(["inspect", adapter]) == 0
    text = capsys.readouterr().out
    assert "of the language: 432 parameters in 1 of 2 layers and the invertible adapter" in text
    assert "nominal K is 768, which counts 2 layers without biases, and h² for" in text
    assert "language_reduction_factor: 2, task_reduction_factor: 16, invertible: True" in text
    assert "and 6 more (--all)" in text
    assert main(["inspect", "--json", adapter]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["adapters"]["language"]["num_params"] == said["num_whole"] == 432
    assert said["adapters"]["language"]["nominal_num_params"] == 768


def test_an_adapter_is_not_composed_into_plain_weights(adapter, capsys):
    assert main(["compose", "--sft", adapter, "--output", "out"]) == 2
    assert "Adapters cannot be added into a plain model's weights" in capsys.readouterr().err
