"""Untied output embeddings stay untied."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification

from ltsft.errors import LtsftError
from ltsft.modules import untie_output_embeddings
from tests.tiny import save_base


def test_outputs_stay_and_the_matrix_is_separate_for_good():
    base = save_base(Path("base"))
    model = AutoModelForMaskedLM.from_pretrained(base).eval()
    ids = torch.arange(5, 15).view(2, 5)
    expected = model(input_ids=ids).logits
    untie_output_embeddings(model)
    untie_output_embeddings(model)  # again changes nothing
    assert torch.equal(model(input_ids=ids).logits, expected)
    output, inputs = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    model.tie_weights()
    assert model.get_output_embeddings().weight is output
    with torch.no_grad():
        inputs += 1
    assert not torch.equal(output, inputs)
    model.save_pretrained("untied")
    again = AutoModelForMaskedLM.from_pretrained("untied").eval()
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    assert torch.equal(again.get_output_embeddings().weight, output)


def test_a_model_without_output_embeddings():
    base = save_base(Path("base"))
    model = AutoModelForTokenClassification.from_pretrained(base)
    assert isinstance(model, nn.Module)
    with pytest.raises(LtsftError, match="expected to have output embeddings"):
        untie_output_embeddings(model)
