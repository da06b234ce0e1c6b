"""From tokenised examples of unequal length to batches."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import NO_CHARACTER, NO_WORD
from ltsft.data.labels import PADDING_LABEL
from ltsft.data.serving.sampling import Draw

PADDING = {
    "token_type_ids": 0,
    "word_ids": NO_WORD,
    "word_starts": NO_WORD,
    "char_starts": NO_CHARACTER,
    "char_ends": NO_CHARACTER,
}
"""What a column is padded with; labels of any kind are padded with -100."""


@dataclass(frozen=True)
class LanguageExamples:
    """Tokenised examples of one language.

    Args:
        language: Their language code.
        columns: Rows of each example, or one number per example, by what they are.
    """

    language: str
    columns: Mapping[str, Ragged | Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def lengths(self) -> Tensor:
        """Sub-words of each example [N]."""
        input_ids = self.columns["input_ids"]
        assert isinstance(input_ids, Ragged)
        return input_ids.lengths

    def __getitem__(self, number: int) -> dict[str, Any]:
        row: dict[str, Any] = {name: column[number] for name, column in self.columns.items()}
        return row | {"source": self.language}


class LabelledExamples(Dataset[dict[str, Any]]):
    """Examples of several languages, one after the other, fetched by :class:`Draw`.

    Args:
        parts: The examples of each language.
    """

    def __init__(self, parts: Sequence[LanguageExamples]) -> None:
        self.parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        part = bisect_right(self._ends, draw.example)
        return self.parts[part][draw.example - (self._ends[part - 1] if part else 0)]


@dataclass
class Collator:
    """Makes batches of labelled examples.

    Args:
        pad_token_id: What `input_ids` are padded with.
    """

    pad_token_id: int

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Pad each column to its longest row.

        Args:
            items: Rows of each example, vectors or scalars, by what they are; `source`.

        Returns:
            The columns, int64; `attention_mask` [B, T]; `source`, the language of all of them.
        """
        source = items[0]["source"]
        if any(item["source"] != source for item in items):
            raise AssertionError("a batch is of one language")
        lengths = torch.tensor([len(item["input_ids"]) for item in items])
        # By length, not by `ids != pad`: text may contain the padding token.
        attended = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        batch = {
            name: self._stack(name, [item[name] for item in items])
            for name in items[0]
            if name != "source"
        }
        return batch | {"attention_mask": attended.long(), "source": source}

    def _stack(self, name: str, rows: list[Tensor]) -> Tensor:
        if rows[0].dim() == 0:
            return torch.stack(rows)
        padding = PADDING.get(name, PADDING_LABEL)
        return pad_sequence(
            rows,
            batch_first=True,
            padding_value=self.pad_token_id if name == "input_ids" else padding,
        )
