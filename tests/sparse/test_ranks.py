"""What ranks tell each other; and that shards, selecting together, equal one process."""

import threading

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.sparse import Ranks, current_ranks, select_largest


def test_without_a_process_group_there_is_one_rank():
    ranks = current_ranks()
    assert ranks.gather("x") == ["x"]
    ranks.check_equal("x", "the mask")
    assert ranks.order_ties(3) == (0, 3)


def test_ranks_that_disagree_are_refused():
    class Two(Ranks):
        def gather(self, value):
            return [value, "other"]

    with pytest.raises(LtsftError, match="the mask is expected to be the same on all 2 ranks"):
        Two().check_equal("mine", "the mask")


class Shard(Ranks):
    """One of several threads, each with some rows of every tensor."""

    hold_shards = True

    def __init__(self, number, barrier, board):
        self.number, self.barrier, self.board = number, barrier, board

    def gather(self, value):
        self.board[self.number] = value
        self.barrier.wait()
        values = list(self.board)
        self.barrier.wait()
        return values

    def sum_counts(self, counts):
        return torch.stack(self.gather(counts)).sum(0)

    def order_ties(self, num_ties):
        numbers = self.gather(num_ties)
        return sum(numbers[: self.number]), sum(numbers)


@pytest.mark.parametrize("num_params", [0, 1, 7, 20, 35, 48, 53])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "within a set"])
def test_shards_choose_what_one_process_would(num_params, masked):
    """Many equal scores, shards of unequal size, one without any row of a tensor."""
    generator = torch.Generator().manual_seed(0)
    scores = {
        "a": torch.randint(0, 3, (6, 5), generator=generator).float(),
        "b": torch.randint(0, 3, (23, 1), generator=generator).float(),
    }
    within = None
    if masked:
        within = {n: torch.rand(s.shape, generator=generator) < 0.7 for n, s in scores.items()}
        num_params = min(num_params, sum(int(w.sum()) for w in within.values()))
    expected = select_largest(scores, num_params, within)
    rows = {"a": [4, 2, 0], "b": [3, 9, 11]}

    def part(tensors, number):
        return {name: tensor.split(rows[name])[number] for name, tensor in tensors.items()}

    barrier, board, chosen = threading.Barrier(3), [None] * 3, [None] * 3

    def select(number):
        chosen[number] = select_largest(
            part(scores, number),
            num_params,
            None if within is None else part(within, number),
            Shard(number, barrier, board),
        )

    threads = [threading.Thread(target=select, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for name, mask in expected.items():
        assert torch.equal(torch.cat([shard[name] for shard in chosen]), mask), name
