"""Samplers: the order depends on (seed, phase, pass) only, and ranks share each global batch."""

from collections import Counter
from itertools import chain, product
from typing import Any

import pytest
import torch

from ltsft.data.serving.sampling import (
    EvaluationSampler,
    Mixing,
    TrainingSampler,
    derive_seed,
    unshard,
)
from ltsft.errors import LtsftError


def global_batches(
    num_examples: int | list[int], size: int, world_size: int, accumulate: int, **order: Any
) -> list:
    """Draws of each optimizer step, gathered over ranks and accumulation."""
    shards = [
        list(
            TrainingSampler(
                num_examples,
                size,
                rank=rank,
                world_size=world_size,
                accumulate=accumulate,
                seed=3,
                **order,
            )
        )
        for rank in range(world_size)
    ]
    micro_steps = [list(chain(*parts)) for parts in zip(*shards, strict=True)]
    return [
        list(chain(*micro_steps[start : start + accumulate]))
        for start in range(0, len(micro_steps), accumulate)
    ]


@pytest.mark.parametrize("num_examples", [1, 5, 12, 40, 43])
def test_ranks_and_accumulation_take_the_same_global_batches(num_examples: int) -> None:
    """1, 2, 3 ranks × 1, 2 accumulated: equal steps, equal content in equal order, equal seeds."""
    expected = global_batches(num_examples, 12, 1, 1)
    for world_size, accumulate in product((1, 2, 3), (1, 2)):
        assert global_batches(num_examples, 12, world_size, accumulate) == expected


@pytest.mark.parametrize("num_examples", [1, 5, 12, 40, 43])
def test_a_pass_has_each_example(num_examples: int) -> None:
    """Each example once, and the last batch filled up with the first of the pass; all full."""
    batches = global_batches(num_examples, 12, 1, 1)
    drawn = [draw.example for batch in batches for draw in batch]
    assert {len(batch) for batch in batches} == {12}
    assert len(batches) == len(TrainingSampler(num_examples, 12)) == -(-num_examples // 12)
    assert sorted(drawn[:num_examples]) == list(range(num_examples))
    assert all(drawn[i] == drawn[i % num_examples] for i in range(len(drawn)))


def test_phase_pass_and_seed_change_order_and_masks() -> None:
    orders, seeds = set(), set()
    for seed, phase, pass_index in product((0, 1), ("dense", "sparse"), (0, 1)):
        sampler = TrainingSampler(20, 4, seed=seed)
        sampler.set_pass(phase, pass_index)
        draws = [draw for batch in sampler for draw in batch]
        assert draws == [draw for batch in sampler for draw in batch]
        orders.add(tuple(draw.example for draw in draws))
        seeds |= {draw.seed for draw in draws}
    assert len(orders) == 8
    assert len(seeds) == 8 * 20


def test_the_epoch_is_the_pass_until_someone_says_better() -> None:
    sampler = TrainingSampler(20, 4)
    sampler.set_epoch(2)
    assert sampler.current == ("dense", 2)
    sampler.set_pass("sparse", 1)
    sampler.set_epoch(7)
    assert sampler.current == ("sparse", 1)


def test_batches_from_a_start_keep_their_pass() -> None:
    """The rest of a pass equals its end, also if the pass is changed before it is drawn."""
    sampler = TrainingSampler(20, 4)
    whole = list(sampler)
    rest = sampler.batches(start=2)
    sampler.set_pass("sparse", 0)
    assert list(rest) == whole[2:]
    assert list(sampler) != whole


@pytest.mark.parametrize("size", [0, 8, 5])
def test_global_batch_has_to_divide(size: int) -> None:
    with pytest.raises(LtsftError, match=rf"multiple of processes .* 3 · 2, but got {size}; set"):
        TrainingSampler(20, size, world_size=3, accumulate=2)


@pytest.mark.parametrize("num_examples", [1, 2, 7, 12])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_takes_each_example_once(num_examples: int, world_size: int) -> None:
    """Over all ranks each example once with one seed; ranks differ by at most one batch."""
    samplers = [
        EvaluationSampler(num_examples, 2, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    draws = [draw for sampler in samplers for batch in sampler for draw in batch]
    whole = [draw for batch in EvaluationSampler(num_examples, 2) for draw in batch]
    assert sorted(draws) == whole
    assert [draw.example for draw in whole] == list(range(num_examples))
    assert [len(list(sampler)) for sampler in samplers] == [len(sampler) for sampler in samplers]
    lengths = [len(sampler) for sampler in samplers]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) > 0 or num_examples < world_size


def test_seeds_suit_torch() -> None:
    assert all(0 <= derive_seed("x", number) < 2**63 for number in range(100))
    torch.manual_seed(derive_seed("x", 1))


SIZES = [80, 14, 2]
LANGUAGE_OF = [language for language, size in enumerate(SIZES) for _ in range(size)]


@pytest.mark.parametrize("temperature", [1.0, 2.0, float("inf")])
@pytest.mark.parametrize("by_length", [False, True])
def test_each_step_is_of_one_language(temperature: float, by_length: bool) -> None:
    """Whatever the ranks and micro-batches; each example is seen, and languages are shuffled."""
    order = {
        "mixing": Mixing(temperature, by_length),
        "lengths": torch.arange(sum(SIZES)) % 5,
    }
    batches = global_batches(SIZES, 12, 1, 1, **order)
    for world_size, accumulate in product((1, 2, 3), (1, 2)):
        assert global_batches(SIZES, 12, world_size, accumulate, **order) == batches
    languages = []
    for batch in batches:
        (language,) = {LANGUAGE_OF[draw.example] for draw in batch}
        languages.append(language)
    assert {draw.example for batch in batches for draw in batch} == set(range(sum(SIZES)))
    needed = [7, 2, 1]
    expected = {1.0: needed, 2.0: [7, 4, 3], float("inf"): [7, 7, 7]}[temperature]
    assert [Counter(languages)[language] for language in range(3)] == expected


def test_languages_are_shuffled_anew_in_each_pass() -> None:
    sampler = TrainingSampler(SIZES, 12)
    orders = []
    for number in range(10):
        sampler.set_pass("dense", number)
        orders.append([LANGUAGE_OF[batch[0].example] for batch in sampler])
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) > 5


def test_a_language_seen_more_than_once_is_permuted_anew() -> None:
    sampler = TrainingSampler([60, 12], 6, mixing=Mixing(float("inf")))
    small = [draw.example for batch in sampler for draw in batch if draw.example >= 60]
    assert Counter(small) == dict.fromkeys(range(60, 72), 5)
    batches = [frozenset(small[start : start + 6]) for start in range(0, 60, 6)]
    assert len(set(batches)) > 6


def test_one_language_among_many_is_the_same_as_alone() -> None:
    """Mixing changes nothing where there is one language, not even the order."""
    alone = list(TrainingSampler(43, 12, seed=3))
    for temperature in (1.0, 3.0, float("inf")):
        assert list(TrainingSampler([43], 12, seed=3, mixing=Mixing(temperature))) == alone


def test_grouping_by_length_saves_padding() -> None:
    """Same examples, each as often; far less padding in batches that come in no order of length."""
    lengths = torch.randint(5, 100, (400,), generator=torch.Generator().manual_seed(0))
    grouped = TrainingSampler(400, 8, mixing=Mixing(by_length=True), lengths=lengths)

    def longest(sampler: TrainingSampler) -> torch.Tensor:
        return lengths[sampler.order()].view(-1, 8).amax(1)

    plain = longest(TrainingSampler(400, 8))
    assert sorted(grouped.order().tolist()) == list(range(400))
    padding = [int(8 * n.sum() - lengths.sum()) for n in (plain, longest(grouped))]
    assert padding[1] < 0.2 * padding[0]
    order = longest(grouped).float()
    assert abs(torch.corrcoef(torch.stack([order, torch.arange(50.0)]))[0, 1]) < 0.4


@pytest.mark.parametrize(("num", "world_size"), [(0, 1), (7, 1), (7, 2), (6, 3), (2, 3), (8, 3)])
def test_shards_of_an_evaluation_come_back_in_the_order_of_the_data(num, world_size):
    """What samplers of all ranks served, none twice."""
    shards = []
    for rank in range(world_size):
        sampler = EvaluationSampler(num, 3, rank=rank, world_size=world_size, seed=0)
        shards.append([draw.example for batch in sampler for draw in batch])
    assert unshard(shards) == list(range(num))
