"""Numbered examples that samplers draw from."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ltsft.data.encoding.ragged import Ragged
from ltsft.data.serving.sampling import Draw


class Examples(Dataset[tuple[Any, int]]):
    """Examples that are fetched by :class:`Draw`, each with the draw's seed.

    Args:
        examples: The examples.
    """

    def __init__(self, examples: Sequence[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, draw: Draw) -> tuple[Any, int]:
        return self.examples[draw.example], draw.seed


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
        return row | {"language": self.language}


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
