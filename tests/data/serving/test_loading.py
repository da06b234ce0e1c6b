"""Loaders: interrupted and resumed is the same as never stopped, by hand and under Lightning."""

import copy
from typing import Any

import pytest
import torch

from ltsft.data.serving.examples import Examples
from ltsft.data.serving.loading import EvaluationLoader, TrainingLoader
from ltsft.data.serving.sampling import EvaluationSampler, TrainingSampler
from ltsft.errors import LtsftError


def collate(items: list[tuple[int, int]]) -> dict[str, Any]:
    return {"examples": torch.tensor([example for example, _ in items]), "language": "xx"}


def training_loader(num_examples: int = 22, num_workers: int = 0, **options: int) -> TrainingLoader:
    sampler = TrainingSampler(num_examples, 4, **options)
    return TrainingLoader(Examples(range(num_examples)), sampler, collate, num_workers=num_workers)


def training_loader_at(phase: str, pass_index: int) -> TrainingLoader:
    loader = training_loader()
    loader.set_pass(phase, pass_index)
    return loader


def examples(batches: Any) -> list[list[int]]:
    return [batch["examples"].tolist() for batch in batches]


@pytest.mark.parametrize("says_again", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 4, 6])
def test_resumes_in_mid_pass(stop: int, num_workers: int, says_again: bool) -> None:
    """After k batches were handed out (workers fetched more), a new loader goes on with k + 1.

    A pass that was over is followed by the next one; and the state of a state is that state. Nobody
    needs to say again which pass it is.
    """
    loader = training_loader(num_workers=num_workers)
    loader.set_pass("sparse", 3)
    whole = examples(training_loader_at("sparse", 3))
    iterator = iter(loader)
    head = [next(iterator) for _ in range(stop)]
    state = copy.deepcopy(loader.state_dict())
    resumed = training_loader(num_workers=num_workers)
    resumed.load_state_dict(state)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state or stop == 6
    if says_again:
        resumed.set_pass("sparse", 3 + stop // 6)
    expected = examples(training_loader_at("sparse", 4)) if stop == 6 else whole[stop:]
    assert examples(head) + examples(resumed) == whole[:stop] + expected
    assert len(examples(resumed)) == len(resumed) == 6


def test_state_is_of_one_pass() -> None:
    """Any other pass, and a pass that was over, begin at their first batch."""
    loader = training_loader()
    next(iter(loader))
    state = loader.state_dict()
    other = training_loader()
    other.load_state_dict(state)
    other.set_pass("sparse", 0)
    assert examples(other) == examples(training_loader_at("sparse", 0))
    other.set_pass("dense", 0)
    assert examples(other) == examples(training_loader())
    list(loader)
    other.load_state_dict(loader.state_dict())
    other.set_pass("dense", 0)
    assert examples(other) == examples(loader)


def test_nothing_happens_before_the_first_batch() -> None:
    """An iterator made before the pass is known serves the pass that is set afterwards.

    And no global random number is drawn by making or using it.
    """
    before = torch.get_rng_state()
    loader = training_loader(num_workers=1)
    iterator = iter(loader)
    loader.set_pass("sparse", 1)
    late = examples(iterator)
    assert late == examples(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_resumes_on_other_ranks() -> None:
    """A state of one process is good for two: the global batches go on where they stopped."""
    loader = training_loader()
    whole = examples(loader)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    shards = []
    for rank in range(2):
        shard = training_loader(rank=rank, world_size=2)
        shard.load_state_dict(loader.state_dict())
        shards.append(examples(shard))
    assert [left + right for left, right in zip(*shards, strict=True)] == whole[2:]


def test_resume_within_a_batch_is_refused() -> None:
    loader = training_loader(accumulate=2)
    next(iter(loader))
    whole = training_loader()
    whole.load_state_dict(loader.state_dict())
    with pytest.raises(LtsftError, match=r"end of a batch, but after 2 examples .* one of the 4"):
        next(iter(whole))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"num_examples": 23},
            "`num_examples` of the training data .* be \\[22\\], .* but got \\[23\\]",
        ),
        ({"seed": 1}, "`seed` of the training data .* be 0, .* but got 1"),
    ],
)
def test_resume_on_other_data_is_refused(other: dict[str, int], message: str) -> None:
    with pytest.raises(LtsftError, match=message):
        training_loader(**other).load_state_dict(training_loader().state_dict())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_is_always_the_same(num_workers: int) -> None:
    loader = EvaluationLoader(
        Examples(range(7)), EvaluationSampler(7, 3), collate, num_workers=num_workers
    )
    assert examples(loader) == examples(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3
