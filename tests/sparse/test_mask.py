"""A mask against sets of positions."""

import pytest
import torch

from ltsft.sparse import Mask


def mask_of(positions):
    """Over 6 + 4 entries in two tensors."""
    flat = torch.zeros(10, dtype=torch.bool)
    flat[sorted(positions)] = True
    return Mask({"a": flat[:6].view(2, 3), "b": flat[6:]})


def positions(mask):
    return set(torch.cat([mask["a"].flatten(), mask["b"]]).nonzero().flatten().tolist())


def test_set_operations():
    a, b = mask_of({0, 3, 7}), mask_of({3, 9})
    assert positions(a | b) == {0, 3, 7, 9}
    assert positions(~a) == set(range(10)) - {0, 3, 7}
    assert (a.num_selected, a.num_maskable, a.density) == (3, 10, 0.3)


def test_indices_are_flat_sorted_and_come_back():
    mask = mask_of({1, 5, 6})
    indices = mask.indices()
    assert {name: i.tolist() for name, i in indices.items()} == {"a": [1, 5], "b": [0]}
    again = Mask.from_indices(indices, {"a": torch.Size([2, 3]), "b": torch.Size([4])})
    assert positions(again) == {1, 5, 6}
    assert again.digest() == mask.digest()


def test_digest_tells_entries_names_and_shapes_apart():
    mask = mask_of({1})
    others = [
        mask_of({2}),
        Mask({"a": mask["a"], "c": mask["b"]}),
        Mask({"a": mask["a"].view(3, 2), "b": mask["b"]}),
    ]
    assert len({m.digest() for m in [mask, *others]}) == 4
    assert Mask({"b": mask["b"], "a": mask["a"]}).digest() == mask.digest()


def test_positions_are_looked_for_in_pieces(monkeypatch):
    monkeypatch.setattr("ltsft.sparse.mask._CHUNK_ENTRIES", 8)
    for number in range(40):
        flags = torch.rand(number, generator=torch.Generator().manual_seed(number)) < 0.4
        assert torch.equal(Mask({"a": flags})["a"], flags)
        assert Mask({"a": flags}).indices_of("a").tolist() == flags.nonzero().flatten().tolist()


def test_it_takes_a_bit_an_entry():
    mask = Mask({"a": torch.ones(1000, 8, dtype=torch.bool)})
    assert sum(bits.numel() * bits.itemsize for bits in mask._bits.values()) == 1000


def test_of_nothing_the_density_is_0():
    assert Mask({}).density == 0


def test_only_booleans():
    with pytest.raises(TypeError, match=r"`mask\['a'\]` is expected to be a boolean tensor"):
        Mask({"a": torch.ones(2)})
