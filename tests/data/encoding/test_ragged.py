"""Rows of unequal length come back as they were."""

import pytest
import torch

from ltsft.data.encoding.ragged import Ragged


@pytest.mark.parametrize("rows", [[], [[]], [[1], [], [2, 3]]])
def test_ragged_rows(rows: list[list[int]]) -> None:
    ragged = Ragged.of(rows)
    assert [row.tolist() for row in ragged] == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert [row.tolist() for row in ragged[:2]] == rows[:2]


def test_rows_outside_are_refused() -> None:
    ragged = Ragged.of([[1], [2]])
    for index in (-1, 2):
        with pytest.raises(IndexError):
            ragged[index]
    assert ragged[1].dtype == torch.int64
    assert ragged.values.dtype == torch.int32
