"""A checkpoint written after a batch, before the validation that is due then, resumes with it."""

import pytest
import torch

from ltsft.callbacks import Phase, UntilSettled
from tests.callbacks.plain import Plain, callback, data, trainer, values
from tests.callbacks.test_resume import SaveAt
from tests.callbacks.test_rounds import shuffled


class Wild(Plain):
    """At such a rate no two validations agree: a missed one makes other weights the best."""

    def __init__(self):
        super().__init__(dropout=0.3)
        self.validated = []

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self.layers(x), y)

    def on_validation_end(self):
        self.validated.append(self.trainer.global_step)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.5)


SETTINGS = {
    "by a metric": {"monitor": "val_loss", "mode": "min"},
    "last weights": {},
    "patience": {"monitor": "val_loss", "mode": "min", "dense": Phase(max_steps=30, patience=2)},
    "settled": {"until_settled": UntilSettled(overlap=0.3, patience=2)},
}


@pytest.mark.parametrize(("name", "every"), [*((name, 2) for name in SETTINGS), ("patience", 3)])
def test_resumed_from_any_batch_it_validates_as_the_run_that_was_not_stopped(tmp_path, name, every):
    """Same validations, same lengths, same mask and weights; from each of all steps."""

    def fit(ckpt_path=None, *extra):
        torch.manual_seed(3)
        module = Wild()
        settings = {"dense": Phase(max_steps=9), "sparse": Phase(max_steps=7)} | SETTINGS[name]
        sft = callback(10, **settings)
        run = trainer(
            sft,
            *extra,
            val_check_interval=every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
        )
        run.fit(module, shuffled(), data(num=4, seed=2), ckpt_path=ckpt_path)
        return module, sft.sft, run.global_step

    module, expected, num_steps = fit(None, SaveAt(tmp_path, "on_train_batch_end"))
    assert len(module.validated) >= num_steps // every
    for step in range(1, num_steps + 1):
        resumed, sft, resumed_steps = fit(tmp_path / f"{step}.ckpt")
        assert resumed.validated == [v for v in module.validated if v >= step], step
        assert resumed_steps == num_steps, step
        assert sft == expected, step
        for key, value in values(module).items():
            assert torch.equal(resumed.get_parameter(key), value), (step, key)
