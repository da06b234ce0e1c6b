"""What criteria promise."""

from ltsft.sparse import Biases, LargestChange, Random


def test_only_largest_change_needs_a_dense_phase():
    assert [s().needs_dense_phase for s in (LargestChange, Random, Biases)] == [True, False, False]
    assert [s.needs_budget for s in (LargestChange, Random, Biases)] == [True, True, False]
