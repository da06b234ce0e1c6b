"""Predictions for Python objects, without a Trainer and without files."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from transformers import AutoTokenizer, PreTrainedModel

from ltsft.data.labelled_data import LabelledData
from ltsft.tasks.encoder import num_positions_of

LANGUAGE = "und"
"""Code of a language that is not told: undetermined."""

_USUAL_LENGTH = 512
"""Sub-words per example at the most where the model sets no limit, or a longer one."""


def longest_input(model: PreTrainedModel, tokenizer: str) -> int:
    """Sub-words per example at the most, where nobody said how many.

    Args:
        model: May have embeddings of so many positions.
        tokenizer: Its name; may say what it was trained with.
    """
    of_tokenizer: int = AutoTokenizer.from_pretrained(tokenizer).model_max_length
    return min(_USUAL_LENGTH, of_tokenizer, num_positions_of(model) or _USUAL_LENGTH)


@torch.inference_mode()
def predict(task: LightningModule, data: LabelledData[Any], examples: list[Any]) -> list[Any]:
    """Predict for examples in memory, in evaluation mode, where the task's model is.

    Args:
        task: Predicts.
        data: Of the task's kind; makes the batches.
        examples: What `data` reads, annotation aside.

    Returns:
        What ``predict_step`` says of each, in order.
    """
    if not examples:
        return []
    data.give("predict", LANGUAGE, examples)
    was_training = task.training
    task.eval()
    try:
        predictions: list[Any] = []
        for number, batch in enumerate(data.predict_dataloader()[0]):
            here = {k: v.to(task.device) if torch.is_tensor(v) else v for k, v in batch.items()}
            predictions += task.predict_step(here, number)
    finally:
        task.train(was_training)
    return predictions
