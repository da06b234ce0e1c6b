"""Losses and scores against loops written by hand."""

import math

import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from torch.nn.functional import cross_entropy

from ltsft.metrics import SpanF1
from ltsft.tasks import MaskedLM, Tagger
from tests.callbacks.plain import loader_of, trainer
from tests.tasks.test_encoders import LABELS, language_batches, tagging_batches
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


def test_accuracy_counts_cut_words_and_unknown_labels_as_wrong(base):
    task = Tagger(labels=LABELS, base_model=base).eval()
    batches = list(tagging_batches(2))
    batches[0]["word_starts"][0, 5:] = -1  # cut off
    batches[0]["labels"][1, 2] = -1  # a gold label that the model lacks
    batches[1]["labels"][:, 6:] = -100  # padding
    run = trainer()
    run.test(task, loader_of(batches), verbose=False)
    right = total = 0
    with torch.no_grad():
        for batch in batches:
            ids, mask = batch["input_ids"], batch["attention_mask"]
            logits = task.model(input_ids=ids, attention_mask=mask).logits
            for b in range(4):
                for w in range(8):
                    gold, start = batch["labels"][b, w].item(), batch["word_starts"][b, w].item()
                    if gold == -100:
                        continue
                    total += 1
                    right += start >= 0 and logits[b, start].argmax().item() == gold
    assert run.callback_metrics["test_accuracy/aa"].item() == pytest.approx(right / total)


def test_predictions_have_one_label_per_word(base):
    task = Tagger(labels=LABELS, base_model=base).eval()
    batch = next(tagging_batches())
    batch["labels"][2, 5:] = -100
    assert [len(words) for words in task.predict_step(batch, 0)] == [8, 8, 5, 8]


@pytest.mark.parametrize("strict", [False, True])
def test_span_f1_is_seqevals(strict):
    """On random tag sequences, stray I- tags included, in batches and merged over two ranks."""
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    generator = torch.Generator().manual_seed(0)
    settings = {"mode": "strict", "scheme": IOB2} if strict else {}
    for _ in range(30):
        gold, guess = torch.randint(0, 5, (2, 6, 9), generator=generator)
        guess = torch.where(torch.rand(guess.shape, generator=generator) < 0.6, gold, guess)
        ranks = [SpanF1(names, strict=strict) for _ in range(2)]
        ranks[0].update(guess[:4], gold[:4])
        ranks[1].update(guess[4:], gold[4:])
        ranks[0].merge_state(ranks[1])
        spell = [[[names[i] for i in row] for row in rows.tolist()] for rows in (gold, guess)]
        expected = f1_score(*spell, **settings)
        assert ranks[0].compute().item() == pytest.approx(expected, abs=1e-6)


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
            loss = task.training_loss(batch)
        loss.backward()
        gradients.append(
            {n: p.grad for n, p in task.model.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-12, msg=name)
