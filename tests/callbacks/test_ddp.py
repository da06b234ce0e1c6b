"""Two processes (gloo) hold one mask, and the weights of one process with the same global batch.

Starting a process costs more than all fits in it, so two are started once for all of them.
"""

import signal

import pytest
import torch

from ltsft.sparse import SparseFineTuning
from tests.callbacks import ddp_fit
from tests.processes import end_of_ranks, run_ranks


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """By fit: what each of the two ranks held in the end, and the fine-tuning that was written."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_ranks(2, "tests.callbacks.ddp_fit", str(folder))
    return {
        name: (
            *(torch.load(folder / name / f"rank{rank}.pt") for rank in range(2)),
            SparseFineTuning.from_pretrained(folder / name),
        )
        for name in ddp_fit.IN_TWO_PROCESSES
    }


@pytest.mark.parametrize("name", ddp_fit.FITS)
def test_two_processes_equal_one(name, two, tmp_path):
    """Float64 and no dropout; sums over ranks are taken in another order, hence 1e-12.

    The ranks even start from different weights: the first rank's count, for the rewind as well.
    Gates are drawn alike, rounds begin alike, each step is of one language on both.
    """
    one = ddp_fit.FITS[name](tmp_path)
    first, second, sft = two[name]
    assert first["mask"] == second["mask"] == one["mask"]
    for key, expected in one["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key]), key
        torch.testing.assert_close(first["weights"][key], expected, rtol=0, atol=1e-12)
    for key, delta in SparseFineTuning.from_pretrained(tmp_path).entries.items():
        assert torch.equal(delta.indices, sft.entries[key].indices)


def test_two_processes_resume_at_the_boundary_to_the_bit(two):
    first, _, sft = two["as the paper"]
    _, resumed, again = two["resumed"]
    assert again == sft
    for key, expected in first["weights"].items():
        assert torch.equal(resumed["weights"][key], expected), key


def test_a_signal_to_one_rank_ends_both_and_they_go_on_to_the_bit(two):
    """The ranks agree on the step, wherever the signal arrives; three times in a row."""
    first, _, sft = two["as the paper"]
    one, other, again = two["signals"]
    assert one["path"] == other["path"]
    assert one["path"].endswith("signal-step=15.ckpt")
    assert again == sft
    for key, expected in first["weights"].items():
        assert torch.equal(one["weights"][key], expected), key
        assert torch.equal(other["weights"][key], expected), key


def test_one_that_dies_takes_the_other_down_with_a_line():
    codes, logs = end_of_ranks(
        2, "tests.callbacks.ddp_death", timeout_seconds=60, is_ended_by_one=False
    )
    assert codes[1] == -signal.SIGKILL
    assert codes[0] is not None
    assert codes[0] > 0
    assert "Another process of this fit has ended; what it wrote says why." in logs[0]


def test_accumulated_batches_on_two_processes_equal_one(two, tmp_path):
    one = ddp_fit.fit(tmp_path)
    accumulated, _, _ = two["accumulated"]
    assert accumulated["mask"] == one["mask"]
    for key, expected in one["weights"].items():
        torch.testing.assert_close(accumulated["weights"][key], expected, rtol=0, atol=1e-12)


def test_a_sparse_step_sends_the_selected_entries_and_heads_alone(two):
    """Bytes by torch's own dispatcher: float32; 8 · (6 + 1) maskable, of them 10; 3 · (8 + 1)."""
    first, second, _ = two["traffic"]
    assert first == second == {"dense": 4 * (56 + 27), "sparse": 4 * (10 + 27)}
