"""Which tensors have an entry in common, against the addresses of all their entries."""

import itertools
import random

import torch

from ltsft.sparse.shared_memory import overlaps_itself, sharing


def addresses(tensor):
    places = itertools.product(*map(range, tensor.shape))
    return {sum(i * s for i, s in zip(at, tensor.stride(), strict=True)) + tensor.storage_offset()
            for at in places}  # fmt: skip


def test_random_views_of_one_storage():
    chance, counts = random.Random(0), [0, 0]
    for _ in range(500):
        base, views = torch.zeros(6, 6), {}
        for name in "abc":
            rows, columns = (slice(*sorted(chance.sample(range(7), 2))) for _ in range(2))
            view = base[rows, columns][:: chance.choice([1, 2])]
            views[name] = view.t() if chance.random() < 0.5 else view
        pairs = itertools.combinations(views, 2)
        expected = any(addresses(views[a]) & addresses(views[b]) for a, b in pairs)
        both = sharing(views)
        assert (both is not None) == expected
        if both:
            assert addresses(views[both[0]]) & addresses(views[both[1]])
        counts[expected] += 1
    assert min(counts) > 50


def test_the_same_numbers_as_another_type_and_empty_ones():
    base = torch.zeros(8)
    assert sharing({"a": base, "b": base.view(torch.int32)})
    assert sharing({"a": base[:2], "b": base[:0], "c": torch.zeros(8)}) is None


def test_expanded_ones_overlap_themselves():
    assert overlaps_itself(torch.zeros(1, 3).expand(2, 3))
    assert not overlaps_itself(torch.zeros(1, 3).expand(1, 3))
    assert not overlaps_itself(torch.zeros(2, 3).t())
