"""What cannot be trained is refused before a step is spent on it; what diverges stops there."""

import pytest
import torch
from torch import nn

from ltsft.callbacks import Phase, SparseMaskCallback
from ltsft.callbacks.sound import unchanged
from ltsft.errors import LtsftError
from ltsft.sparse import Biases, Growing, SparseDelta, SparseFineTuning, ToStep
from tests.callbacks.plain import Plain, callback, data, trainer


class Untouched(Plain):
    """Counts its steps."""

    num = 0

    def training_step(self, batch, batch_idx):
        self.num += 1
        return super().training_step(batch, batch_idx)


def lazy(module):
    module.layers[0] = nn.LazyLinear(8)


def imaginary(module):
    module.extra = nn.Parameter(torch.ones(2, dtype=torch.complex64))


def infinite(module):
    module.layers[0].weight.data[3, 2] = torch.inf


def not_a_number(module):
    module.layers[3].bias.data[1] = torch.nan


def half(module):
    module.layers[3].half()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lazy, "have shapes when a fit begins, but `layers.0.weight` is lazy"),
        (imaginary, "real numbers, but `extra` is complex"),
        (infinite, "finite when a fit begins, but `layers.0.weight` has NaN or infinity"),
        (not_a_number, "finite when a fit begins, but `layers.3.bias` has NaN or infinity"),
        (half, "float32, but `layers.3.weight` is float16"),
    ],
)
def test_parameters_that_cannot_be_trained(change, message):
    module = Untouched()
    change(module)
    with pytest.raises(LtsftError, match=message):
        trainer(callback()).fit(module, data())
    assert module.num == 0


@pytest.mark.parametrize("at", [1, 4, 10, 12, 15, 27])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_stops_the_fit(at, value):
    """In either phase, and at the end of either; with step and batch, a step later at most."""

    class Diverging(Untouched):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * value if self.num == at else loss

    module = Diverging()
    batch = (at - 1 - 12) % 10 if at > 12 else (at - 1) % 10
    with pytest.raises(LtsftError, match=rf"at step {at} \(batch {batch} of its pass\)"):
        trainer(callback()).fit(module, data())
    assert module.num <= at + 1


def test_no_biases_no_success():
    class NoBias(Untouched):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False))

    module = NoBias()
    sft = SparseMaskCallback(selection=Biases(), sparse=Phase(max_steps=3))
    with pytest.raises(
        LtsftError, match="`Biases` is expected to find entries .* finds none among"
    ):
        trainer(sft).fit(module, data())
    assert module.num == 0


class Cosine(Plain):
    """As people write it; notes the length that it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        self.seen.append(self.trainer.max_epochs)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return [optimizer], [schedule]


def test_a_schedule_over_epochs_sees_those_of_the_phase():
    module = Cosine()
    run = trainer(callback(dense=Phase(max_epochs=3), sparse=Phase(max_epochs=2)))
    run.fit(module, data())
    assert module.seen == [3, 2]
    assert run.max_epochs == -1


def test_a_schedule_over_epochs_where_there_are_none():
    with pytest.raises(LtsftError, match="`T_max` of CosineAnnealingLR .* but got -1: the Trainer"):
        trainer(callback()).fit(Cosine(), data())


@pytest.mark.parametrize("make", [lambda: Growing("2"), lambda: ToStep(1.5)])
def test_numbers_of_another_type(make):
    with pytest.raises(LtsftError, match="is expected to be a whole number, but got"):
        make()


def test_entries_that_ended_where_they_began_are_told():
    values = torch.tensor([0.0, 1.0, 0.0])
    sft = SparseFineTuning({"w": SparseDelta((5,), torch.tensor([0, 2, 4]), values)})
    assert unchanged(sft).startswith("Of the 3 selected entries 2 ended where they began")
    assert (
        unchanged(SparseFineTuning({"w": SparseDelta((5,), torch.tensor([2]), values[1:2])})) == ""
    )

    class Still(Plain):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    with pytest.warns(UserWarning, match="Of the 10 selected entries 10 ended where they began"):
        trainer(callback()).fit(Still(), data())


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_what_was_trained_in_another_precision_fits_its_base(precision):
    """The base as everybody loads it, in float32; and no other one."""
    sft = callback()
    trainer(sft, precision=precision).fit(Plain(), data())
    base = Plain()
    before = {name: value.detach().clone() for name, value in base.named_parameters()}
    handle = sft.sft.apply(base)
    moved = sum(int((value != before[name]).sum()) for name, value in base.named_parameters())
    assert 0 < moved <= 10
    handle.revert()
    assert all(torch.equal(value, before[name]) for name, value in base.named_parameters())
    with pytest.raises(LtsftError, match="to the weights it was trained from"):
        sft.sft.apply(Plain(seed=1))
