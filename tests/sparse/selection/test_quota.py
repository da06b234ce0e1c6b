"""Property: each part gets its share to the entry, all together exactly K."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import Biases, ChangeTimesMagnitude, LargestChange, NoEntries, Quota, Random
from ltsft.sparse.selection.quota import layer_of, split
from tests.sparse.selection.reference import candidates, chosen, first, module_of, random_change


def test_shares_are_those_of_largest_remainders():
    """Against exact fractions, for every K: no share is off by a whole entry or beyond its part."""
    for sizes in ([5], [3, 3, 3], [1, 10, 100], [7, 1, 1, 90, 4], [2, 2]):
        whole = sum(sizes)
        for total in range(whole + 1):
            shares = split(total, sizes)
            exact = [Fraction(total * size, whole) for size in sizes]
            assert sum(shares) == total
            assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
            up = [share > e for share, e in zip(shares, exact, strict=True)]
            assert all(abs(share - e) < 1 for share, e in zip(shares, exact, strict=True))
            # Whoever was rounded up had no smaller remainder than whoever was rounded down.
            remainders = [e % 1 for e in exact]
            raised = [r for r, u in zip(remainders, up, strict=True) if u]
            lowered = [r for r, u in zip(remainders, up, strict=True) if not u and r]
            assert not raised or not lowered or min(raised) >= max(lowered)


def test_nothing_is_chosen_where_nothing_may_be():
    """As by a selection alone; with K = 0 the first of two rounds leaves none to the second."""
    module = module_of({"a": (6, 5), "b": (7,)})
    given = candidates(module, random_change(module))
    none = replace(given, within=NoEntries().select(given))
    for selection in (LargestChange(), Quota(LargestChange()), Quota(Random(), by="tensor")):
        assert selection.select(none, 0).num_selected == 0
        with pytest.raises(LtsftError, match="between 0 and the 0 maskable entries, but got 1"):
            selection.select(none, 1)


def test_equal_remainders_go_to_the_earlier_part():
    assert split(2, [1, 1, 1]) == [1, 1, 0]


def test_each_tensor_gets_its_share_of_the_largest():
    module = module_of({"a": (6, 5), "b": (7,), "c": (2, 3, 2)})
    given = candidates(module, random_change(module))
    scores = {n: (p - given.initial[n]).abs().detach() for n, p in module.named_parameters()}
    for num_params in range(50):
        mask = Quota(LargestChange(), by="tensor").select(given, num_params)
        assert mask.num_selected == num_params
        assert list(mask) == list(scores)
        shares = split(num_params, [30, 7, 12])
        for (name, score), share in zip(scores.items(), shares, strict=True):
            assert chosen({name: mask[name]}) == first({name: score}, share)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.Embedding(10, 4)
        self.layer = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)) for _ in range(3)
        )


def test_layers_are_ranked_each_as_a_whole():
    """40 + 3 · (20 + 10) entries, K = 26: 8 and three times 6, within a layer over its tensors."""
    module = Encoder()
    given = candidates(module, random_change(module))
    for selection in (LargestChange(), ChangeTimesMagnitude()):
        mask = Quota(selection).select(given, 26)
        assert int(mask["embeddings.weight"].sum()) == 8
        for number in range(3):
            names = [n for n in mask if n.startswith(f"layer.{number}.")]
            alone = selection.select(given.only(names), 6)
            assert all(torch.equal(mask[name], alone[name]) for name in names)
            assert sum(int(mask[name].sum()) for name in names) == 6
    assert "each of 4 layers" in Quota(LargestChange()).describe(given, mask)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bert.encoder.layer.11.attention.self.query.weight", "bert.encoder.layer.11"),
        ("layers.0.mlp.Wi.weight", "layers.0"),
        ("0.1.weight", "0"),
        ("embeddings.word_embeddings.weight", "embeddings.word_embeddings"),
        ("w2v.proj1.bias", "w2v.proj1"),
        ("weight", ""),
    ],
)
def test_layers_are_told_by_the_first_number(name, layer):
    assert layer_of(name) == layer


def test_a_random_draw_is_not_repeated_in_each_layer():
    module = nn.Sequential(*(nn.Linear(30, 30, bias=False) for _ in range(3)))
    mask = Quota(Random()).select(candidates(module), 300)
    assert [int(tensor.sum()) for tensor in mask.values()] == [100] * 3
    assert len({tuple(chosen({"x": tensor})) for tensor in mask.values()}) == 3


def test_what_the_wrapped_selection_sees_is_passed_on():
    """Every moment of the dense phase reaches it, with all candidates."""

    class Noting(LargestChange):
        def __init__(self):
            self.seen = []

        def place(self, candidates, training):
            self.seen.append(("place", training, len(candidates.scope.maskable)))

        def remove(self, candidates):
            self.seen.append("remove")

        def observe(self, candidates):
            self.seen.append("observe")

        def reset(self):
            self.seen.append("reset")

        def state_dict(self):
            return {"seen": len(self.seen)}

        def load_state_dict(self, state):
            self.seen.append(state)

    noting, given = Noting(), candidates(Encoder())
    quota = Quota(noting)
    quota.reset()
    quota.place(given, training=True)
    quota.remove(given)
    quota.observe(given)
    quota.load_state_dict(quota.state_dict())
    assert noting.seen == ["reset", ("place", True, 13), "remove", "observe", {"seen": 4}]
    assert quota.needs_dense_phase
    assert not Quota(Random()).needs_dense_phase


def test_its_name_says_of_what():
    assert str(Quota(Random(), by="tensor")) == "Quota(Random, by tensor)"


def test_mistakes_are_refused():
    with pytest.raises(LtsftError, match="but `Biases` implies its own"):
        Quota(Biases())
    with pytest.raises(LtsftError, match="`layer` or `tensor`, got 'head'"):
        Quota(LargestChange(), by="head")
