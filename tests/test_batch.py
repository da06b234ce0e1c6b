"""The contract of a batch: all that data modules serve is named in it, and it needs no torch."""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

import ltsft.batch
from ltsft.batch import PADDING, padding_of
from ltsft.data import PairData, ParsingData, QuestionData, Source, TaggingData, TextData
from tests.tiny import save_artificial_base

SOURCE = Source("artificial:elmu", limit=20)


def test_torch_is_not_needed() -> None:
    code = "import sys, ltsft.batch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_padding_is_what_losses_ignore() -> None:
    assert inspect.signature(cross_entropy).parameters["ignore_index"].default == PADDING


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_artificial_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    "make",
    [
        lambda base: TextData(base, text=SOURCE, max_length=20, eval_batch_size=3),
        lambda base: TaggingData(base, validation={"elmu": SOURCE}),
        lambda base: ParsingData(base, validation={"elmu": SOURCE}),
        lambda base: PairData(base, validation={"elmu": SOURCE}),
        lambda base: QuestionData(
            base, 40, stride=8, max_question_length=12, validation={"elmu": SOURCE}
        ),
    ],
)
def test_all_columns_are_in_the_contract(base: str, make: Callable[[str], TextData]) -> None:
    """Each is named, and a row's end is filled up with the padding that the contract states."""
    named = set(re.findall(r"``(\w+)``", ltsft.batch.__doc__ or ""))
    batch = next(iter(make(base).val_dataloader()[0]))
    assert batch.keys() <= named
    assert batch["language"] == "elmu"
    padded = batch["attention_mask"] == 0
    for name, values in batch.items():
        if torch.is_tensor(values) and values.shape == padded.shape and name != "input_ids":
            assert values.dtype == torch.long
            assert (values[padded] == padding_of(name)).all(), name
