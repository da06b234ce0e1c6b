"""Numbered examples: each draw gets the one it asks for, in its own language."""

from itertools import chain

import torch

from ltsft.data.encoding.ragged import Ragged
from ltsft.data.serving.examples import Examples, LabelledExamples, LanguageExamples
from ltsft.data.serving.sampling import Draw


def part(language: str, rows: list[list[int]]) -> LanguageExamples:
    sums = torch.tensor([sum(row) for row in rows], dtype=torch.long)
    return LanguageExamples(language, {"input_ids": Ragged.of(rows), "sum": sums})


def test_languages_follow_one_another() -> None:
    rows = {"aa": [[1], [2, 3]], "bb": [], "cc": [[4, 5, 6], [7], [8]]}
    examples = LabelledExamples([part(language, rows[language]) for language in rows])
    assert len(examples) == 5
    assert [len(p) for p in examples.parts] == [2, 0, 3]
    drawn = [examples[Draw(number, seed=0)] for number in range(5)]
    assert [item["input_ids"].tolist() for item in drawn] == list(chain(*rows.values()))
    assert [item["sum"].item() for item in drawn] == [1, 5, 15, 7, 8]
    assert [item["language"] for item in drawn] == ["aa", "aa", "cc", "cc", "cc"]
    assert examples.parts[2].lengths.tolist() == [3, 1, 1]


def test_none() -> None:
    assert len(LabelledExamples([])) == 0


def test_draws_bring_their_seeds() -> None:
    examples = Examples("abc")
    assert len(examples) == 3
    assert examples[Draw(2, seed=7)] == ("c", 7)
