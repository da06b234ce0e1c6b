"""From tokenised examples of unequal length to batches."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ltsft.batch import Batch, padding_of


@dataclass
class Collator:
    """Makes batches of labelled examples.

    Args:
        pad_token_id: What `input_ids` are padded with.
    """

    pad_token_id: int

    def __call__(self, items: list[dict[str, Any]]) -> Batch:
        """Pad each column to its longest row.

        Args:
            items: Rows of each example, vectors or scalars, by what they are; `language`.

        Returns:
            The columns, int64; `attention_mask` [B, T]; `language`, that of all of them.
        """
        language = items[0]["language"]
        if any(item["language"] != language for item in items):
            raise AssertionError("a batch is of one language")
        lengths = torch.tensor([len(item["input_ids"]) for item in items])
        # By length, not by `ids != pad`: text may contain the padding token.
        attended = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        batch = {
            name: self._stack(name, [item[name] for item in items])
            for name in items[0]
            if name != "language"
        }
        return batch | {"attention_mask": attended.long(), "language": language}

    def _stack(self, name: str, rows: list[Tensor]) -> Tensor:
        if rows[0].dim() == 0:
            return torch.stack(rows)
        padding = self.pad_token_id if name == "input_ids" else padding_of(name)
        return pad_sequence(rows, batch_first=True, padding_value=padding)
