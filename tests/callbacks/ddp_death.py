"""A fit in several processes, of which the second kills itself at its third step."""

import os
import signal

import torch
from lightning.pytorch import Callback

from ltsft.terminal.leftovers import Leftovers
from tests.callbacks.plain import Plain, callback, data, trainer

RANK = int(os.environ.get("LOCAL_RANK", 0))


class Die(Callback):
    """Ends this process without a word."""

    def on_before_backward(self, trainer, module, loss):
        if RANK == 1 and trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run = trainer(
        callback(),
        Die(),
        Leftovers(False),
        strategy="ddp",
        devices=2,
        use_distributed_sampler=False,
    )
    run.fit(Plain(), data())
