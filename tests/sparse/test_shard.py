"""Ranks that share a model out (FSDP2 on CPUs, gloo) do what one process does.

Each number of processes is started once for all that is compared; they need seconds to start.
"""

import re

import pytest
import torch
from torch import nn

from ltsft.sparse import SparseFineTuning
from ltsft.sparse.shard import Shard, gathered, local
from tests.processes import run_ranks
from tests.sparse import sharded_loop

needs_training = pytest.mark.skipif(not sharded_loop.CAN_TRAIN, reason="torch cannot, on CPUs")


@pytest.fixture(scope="module", params=[2, 4], ids=["2 ranks", "4 ranks"])
def shared(request, tmp_path_factory):
    """What each of several ranks got, by rank; and the folder with their fine-tunings."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_ranks(request.param, "tests.sparse.sharded_loop", str(folder))
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(request.param)], folder


@pytest.mark.parametrize("name", sharded_loop.CHOICES)
def test_of_given_weights_ranks_choose_what_one_process_would_to_the_bit(name, shared):
    """Equal changes are cut through; the log says the same numbers."""
    entries, lines = sharded_loop.CHOICES[name]()
    for rank in shared[0]:
        assert rank[name] == (entries, lines)


@needs_training
@pytest.mark.parametrize("name", sharded_loop.HOLDS)
def test_training_equals_that_of_one_process(name, shared, tmp_path):
    """Float64; gradients are sums over ranks, taken in another order, hence 1e-12."""
    ranks, folder = shared
    one = sharded_loop.train(tmp_path, sharded_loop.HOLDS[name]())
    expected = SparseFineTuning.from_pretrained(tmp_path / "rank0")
    for number, rank in enumerate(ranks):
        rank = rank[name]
        assert rank["mask"] == one["mask"]
        assert rank["moved"] == []
        assert rank["stepped"] == one["stepped"]  # shapes of what optimizers see: all ranks' K
        torch.testing.assert_close(rank["start"], one["start"], rtol=0, atol=1e-12)
        torch.testing.assert_close(rank["end"], one["end"], rtol=0, atol=1e-12)
        sft = SparseFineTuning.from_pretrained(folder / name / f"rank{number}")
        assert sft.metadata == expected.metadata  # with the digests of whole tensors
        assert sft.entries.keys() == expected.entries.keys()
        for key, delta in sft.entries.items():
            assert torch.equal(delta.indices, expected.entries[key].indices), key
            torch.testing.assert_close(
                delta.values, expected.entries[key].values, rtol=0, atol=1e-12
            )
        for key, tensor in sft.whole.items():
            torch.testing.assert_close(tensor, expected.whole[key], rtol=0, atol=1e-12)


@needs_training
@pytest.mark.parametrize("name", sharded_loop.HOLDS)
def test_all_ranks_write_the_same_file_and_it_fits_the_plain_model(name, shared):
    ranks, folder = shared
    files = [folder / name / f"rank{rank}" / "sft.safetensors" for rank in range(len(ranks))]
    assert len({file.read_bytes() for file in files}) == 1
    model = sharded_loop.Net()
    SparseFineTuning.load(files[0]).apply(model)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 11, (20, 8, 5), generator=generator)[0]
    torch.testing.assert_close(model(ids), ranks[0][name]["end"], rtol=0, atol=1e-12)


@needs_training
def test_no_rank_holds_more_than_its_rows(shared):
    """85 maskable entries in tensors of at most 11 rows of 4."""
    ranks, _ = shared
    kept = [rank["masked"]["kept"] for rank in ranks]
    assert sum(kept) == 85
    assert max(kept) <= 85 / len(ranks) + 4 * 6


def test_a_selection_sends_counts_and_no_entries(shared):
    """Two passes over float32, 2¹⁶ counts of 8 bytes each, and sums; 200,000 entries stay."""
    ranks, _ = shared
    for rank in ranks:
        counts = rank["traffic"]["allreduce_"]
        assert counts == 2 * 8 * 2**16 + 8
        assert sum(rank["traffic"].values()) - counts < 1000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no ranks", r"write `Ticket\(module, ranks=current_ranks\(module\)\)`"),
        ("by columns", r"`weight` is expected to be sharded by rows over all \d ranks"),
        ("in part", r"sharded all or none, but `1.weight` is not"),
        ("selection", r"`selection` is expected to work on a rank's share .* FisherInformation"),
        ("rewinding", r"`rewinding` is expected to work on a rank's share .* Sign"),
        ("apply", r"`scale` is expected to be whole, but is sharded"),
        ("not finite", r"the scores of `embedding.weight` are expected to be finite"),
        ("moved", r"they moved in embedding.weight"),
    ],
)
def test_what_is_not_supported_or_went_wrong_on_one_rank_ends_all_of_them(name, message, shared):
    told = {rank["refusals"][name] for rank in shared[0]}
    assert len(told) == 1
    assert re.search(message, told.pop())


def test_without_shards_a_tensor_is_its_own_shard():
    weight = nn.Parameter(torch.ones(3, 2))
    shard = Shard.of(weight)
    assert shard.local is weight
    assert local(weight) is weight
    assert (shard.first, shard.shape) == (0, weight.shape)
    assert torch.equal(gathered(weight), weight)
