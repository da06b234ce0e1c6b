"""Tagger: scores against loops written by hand, and predictions."""

import pytest
import torch

from ltsft.tasks import Tagger
from tests.callbacks.plain import loader_of, trainer
from tests.tasks.test_encoders import LABELS, tagging_batches
from tests.tiny import save_base


@pytest.fixture
def base(tmp_path):
    return save_base(tmp_path / "base")


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
