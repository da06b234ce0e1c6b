"""Composing a task's fine-tuning with languages': whose head is kept."""

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse.composed import compose_sft, task_sft


def sft(task, head, position, **metadata):
    delta = SparseDelta((4,), torch.tensor([position]), torch.tensor([1.0]))
    whole = {head: torch.full((2,), float(position))}
    return SparseFineTuning({"w": delta}, whole, Metadata(task=task, **metadata))


TASK, ONE, TWO = sft("pos", "head", 0), sft("masked-lm", "cls", 1), sft("masked-lm", "cls", 2)


def test_the_tasks_head_is_kept_and_the_sum_is_of_the_task():
    composed = compose_sft({"task": TASK, "one": ONE, "two": TWO})
    assert composed.entries["w"].dense().tolist() == [1.0, 1.0, 1.0, 0.0]
    assert composed.whole.keys() == {"head"}
    assert composed.metadata.task == "pos"


def test_of_languages_alone_one_keeps_its_head_and_several_none():
    assert compose_sft({"one": ONE}).whole.keys() == {"cls"}
    assert not compose_sft({"one": ONE, "two": TWO}).whole


@pytest.mark.parametrize("sfts", [{"a": TASK, "b": TASK}, {"a": ONE, "b": TWO}])
def test_not_one_task(sfts):
    with pytest.raises(LtsftError, match="one SFT of a task and any number of languages'"):
        task_sft(sfts)


def test_adapters_are_no_differences():
    with pytest.raises(LtsftError, match="without adapters.* but m fills the slot language"):
        compose_sft({"m": sft("masked-lm", "a", 0, slots={"language": {}})})
