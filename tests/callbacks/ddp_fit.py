"""Run by torchrun-like processes in test_ddp: one fit, its result written to a file.

Usage: python -m tests.callbacks.ddp_fit FOLDER NUM_RANKS ACCUMULATE CKPT_OR_DASH [CASE]
"""

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from ltsft.callbacks import Phase
from ltsft.sparse import DiffPruning, Growing
from tests.callbacks.plain import Plain, callback, data, trainer


class Ranks(Callback):
    """Writes what each rank holds in the end, and a checkpoint at the boundary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer, module):
        if trainer.global_step == 10:
            trainer.save_checkpoint(self.folder / "boundary.ckpt")

    def on_train_end(self, trainer, module):
        sft = next(c for c in trainer.callbacks if hasattr(c, "sft"))
        result = {"weights": module.state_dict(), "mask": sft.ticket.mask.digest()}
        torch.save(result, self.folder / f"rank{trainer.global_rank}.pt")


class Differently(Plain):
    """Starts from other weights on each rank, as a head without a common seed would."""

    def __init__(self, rank: int) -> None:
        super().__init__(seed=rank)
        self.double()


CASES = {
    "as the paper": {},
    "gates": {"selection": DiffPruning(l0=0.01)},
    "rounds": {"rounds": Growing(2)},
}


def main(
    folder: Path,
    num_ranks: int,
    accumulate: int,
    ckpt_path: Path | None,
    case: str = "as the paper",
) -> None:
    torch.set_num_threads(1)
    import os

    rank = int(os.environ.get("LOCAL_RANK", 0))
    dataset = data(dtype=torch.float64).dataset
    validation = data(16, seed=2, dtype=torch.float64).dataset
    micro = 8 // num_ranks // accumulate

    def loader(dataset):
        sampler = SequentialSampler(dataset)
        if num_ranks > 1:
            sampler = DistributedSampler(dataset, num_ranks, rank, shuffle=False)
        return DataLoader(dataset, batch_size=micro, sampler=sampler)

    sft = callback(
        10,
        Phase(max_steps=10, l1=1.0),
        Phase(max_epochs=3, l1=1.0),
        **CASES[case],
        monitor="val_loss",
        mode="min",
        output_dir=str(folder),
    )
    settings = {"strategy": "ddp", "devices": num_ranks} if num_ranks > 1 else {}
    run = trainer(
        sft,
        Ranks(folder),
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=0.5,
        **settings,
    )
    run.fit(Differently(rank), loader(dataset), loader(validation), ckpt_path=ckpt_path)


if __name__ == "__main__":
    path, ranks, accumulate, ckpt, *case = sys.argv[1:]
    main(Path(path), int(ranks), int(accumulate), None if ckpt == "-" else Path(ckpt), *case)
