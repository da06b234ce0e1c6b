"""Checkpoints written in the middle of something are refused; those written between are not."""

import pytest
from lightning.pytorch.callbacks import Callback

from ltsft.errors import LtsftError
from tests.callbacks.plain import Plain, callback, data, trainer
from tests.callbacks.test_resume import Resumable

BETWEEN = ["on_train_start", "on_train_epoch_start", "on_train_batch_end", "on_validation_end",
           "on_train_epoch_end"]  # fmt: skip
IN_BETWEEN = {
    "on_train_batch_start": "in the middle of a step",
    "on_before_zero_grad": "in the middle of a step",
    "on_after_backward": "in the middle of a step",
    "on_before_optimizer_step": "in the middle of a step",
    "on_validation_batch_start": "in the middle of a validation",
    "on_validation_batch_end": "in the middle of a validation",
}


class SaveOnce(Callback):
    """Writes a checkpoint when a hook is called for the n-th time, outside the sanity check."""

    def __init__(self, hook, time):
        self.left = time
        setattr(self, hook, self._save)

    def _save(self, trainer, *_):
        self.left -= not trainer.sanity_checking
        if self.left == 0 and not trainer.sanity_checking:
            self.left = -1
            trainer.save_checkpoint("a.ckpt")


def fit(*extra, ckpt_path=None):
    sft = callback(monitor="val_loss", mode="min")
    run = trainer(sft, *extra)
    run.fit(Plain(), Resumable(), data(num=12, seed=2), ckpt_path=ckpt_path)
    return sft.sft


@pytest.mark.parametrize("hook", IN_BETWEEN)
@pytest.mark.parametrize("time", [2, 13])
def test_in_the_middle_of_something(hook, time):
    if "validation" in hook:
        time = 2
    fit(SaveOnce(hook, time))
    with pytest.raises(LtsftError, match=f"between two steps, but was {IN_BETWEEN[hook]}"):
        fit(ckpt_path="a.ckpt")


@pytest.mark.parametrize("hook", BETWEEN)
def test_between_two_steps(hook):
    expected = fit(SaveOnce(hook, 1 if hook == "on_train_start" else 2))
    assert fit(ckpt_path="a.ckpt") == expected
