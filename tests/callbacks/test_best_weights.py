"""The best weights of one phase."""

import torch

from ltsft.callbacks.best_weights import BestWeights


def test_best_weights_are_a_copy_and_the_earlier_of_equals():
    best, weight = BestWeights("min"), torch.ones(2)
    assert best.offer(2.0, {"w": weight})
    weight += 1
    assert not best.offer(2.0, {"w": weight})
    assert not best.offer(float("nan"), {"w": weight})
    assert best.num_since == 2
    assert best.weights["w"].tolist() == [1.0, 1.0]
    assert BestWeights("max").offer(-1.0, {})
    again = BestWeights("min")
    again.load_state_dict(best.state_dict())
    assert (again.value, again.num_since) == (2.0, 2)
