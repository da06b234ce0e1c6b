"""Fits whose ranks share the model out (FSDP2, two processes on CPUs, gloo) equal those of one."""

import re

import pytest
import torch

from ltsft.sparse import SparseFineTuning
from tests.callbacks import sharded_fit
from tests.processes import run_ranks
from tests.sparse.sharded_loop import CAN_TRAIN

pytestmark = pytest.mark.skipif(not CAN_TRAIN, reason="torch cannot, on CPUs")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of two ranks' fits; processes take longer to start than all fits in them."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_ranks(2, "tests.callbacks.sharded_fit", str(folder))
    return folder


@pytest.mark.parametrize("name", sharded_fit.FITS)
def test_ranks_that_share_the_model_make_the_fine_tuning_of_one_process(name, two, tmp_path):
    """Float64; gradients are sums over ranks, taken in another order, hence 1e-12."""
    one = sharded_fit.FITS[name](tmp_path)
    written = SparseFineTuning.from_pretrained(two / name / "sft")
    for rank in range(2):
        sft = SparseFineTuning.from_pretrained(two / name / f"rank{rank}")
        assert sft == written
        if name != "again":  # where the start is what another fit left, to a rounding
            assert sft.metadata.base_digests == one.metadata.base_digests
        assert sft.entries.keys() == one.entries.keys()
        for key, delta in sft.entries.items():
            expected = one.entries[key]
            assert torch.equal(delta.indices, expected.indices), key
            torch.testing.assert_close(delta.values, expected.values, rtol=0, atol=1e-12)
        for key, tensor in sft.whole.items():
            torch.testing.assert_close(tensor, one.whole[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("selection", r"`selection` is expected to work on a rank's share .* FisherInformation"),
        ("rewinding", r"`rewinding` is expected to work on a rank's share .* Sign"),
        ("until_settled", r"`until_settled` is expected to work on a rank's share"),
        ("languages", r"`sfts` is expected to be left out where .* sharded"),
        ("hold", r"`hold` is expected to be `Masked` where .* sharded"),
        ("resumed", r"`ckpt_path` is expected to be left out where .* sharded"),
        ("tied", r"two of whose parts share `layers.0.weight`"),
        ("elsewhere", r"what each rank starts from is expected to be the same on all 2 ranks"),
    ],
)
def test_what_is_not_supported_is_refused_on_all_ranks_before_training(name, message, two):
    for rank in range(2):
        assert re.search(message, torch.load(two / f"rank{rank}.pt")[name])
    assert not (two / name / "sft").exists()


def test_layers_of_lists_are_shared_out_one_by_one_but_for_those_with_weights_outside(two):
    """A child as a whole, in it each layer of an outermost list; a list is nothing to call."""
    assert torch.load(two / "rank0.pt")["shared out"] == [
        "encoder",
        "encoder.deep.layers.0",
        "heads.a",
        "heads.b",
    ]
