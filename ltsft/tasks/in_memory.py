"""Predictions for Python objects, without a Trainer and without files."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from transformers import AutoTokenizer, PreTrainedModel

from ltsft.data.labelled_data import LabelledData
from ltsft.errors import LtsftError
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


def check_words(sentences: object, call: str) -> None:
    """Refuse text where words are expected: its characters would be taken for them.

    Args:
        sentences: As they were given.
        call: How it is called right, for the message.

    Raises:
        LtsftError: If they are not lists of strings.
    """

    def is_list(value: object) -> bool:
        return isinstance(value, Sequence) and not isinstance(value, str | bytes)

    rows = sentences if is_list(sentences) else [sentences]
    for words in cast(Sequence[Any], rows):
        if not is_list(words) or not all(isinstance(word, str) for word in words):
            raise LtsftError(
                "`sentences` is expected to be lists of words, but got "
                f"{str(sentences)[:60]!r}; write `{call}` "
                "(`ltsft.data.formats.plain.split_words` splits text)."
            )


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
