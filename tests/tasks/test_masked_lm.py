"""MaskedLM: its loss against loops by hand, its scope, its output matrix."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from ltsft.tasks import MaskedLM
from tests.callbacks.plain import loader_of, trainer
from tests.tasks.test_encoders import language_batches
from tests.tiny import CONFIGS, save_base


@pytest.fixture
def base(tmp_path):
    return save_base(tmp_path / "base")


def test_validation_loss_is_the_mean_over_masked_tokens_of_uneven_batches(base):
    task = MaskedLM(base_model=base).eval()
    batches = list(language_batches(3))
    batches[0]["labels"][1:] = -100
    run = trainer()
    run.validate(task, loader_of(batches), verbose=False)
    losses = []
    with torch.no_grad():
        for batch in batches:
            logits = task(batch)
            for row, labels in zip(logits, batch["labels"], strict=True):
                for token, label in zip(row, labels.tolist(), strict=True):
                    if label != -100:
                        losses.append(cross_entropy(token, torch.tensor(label)).item())
    mean = sum(losses) / len(losses)
    assert run.callback_metrics["val_loss"].item() == pytest.approx(mean, rel=1e-5)
    assert run.callback_metrics["val_perplexity"].item() == pytest.approx(math.exp(mean), rel=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_scoring_masked_tokens_only_changes_nothing(tmp_path, kind):
    """Loss and gradients are those of all tokens' logits; float64, other orders of sums: 1e-12."""
    base = save_base(tmp_path / kind, kind)
    (batch,) = list(language_batches(1))
    gradients = []
    for whole in (False, True):
        task = MaskedLM(base_model=base).double().eval()
        if whole:
            logits = task.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
            loss = cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
        else:
            loss = task.training_loss(batch).mean
        loss.backward()
        gradients.append(
            {n: p.grad for n, p in task.model.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-12, msg=name)
