"""Fits that test_ddp compares: run by one process in place, or by two, started once for all.

Usage, in each of the processes: python -m tests.callbacks.ddp_fit FOLDER
"""

import os
import sys
from collections import Counter
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from ltsft.callbacks import (
    Interrupted,
    LanguageSfts,
    Phase,
    SaveOnSignal,
    SparseMaskCallback,
)
from ltsft.sparse import Budget, DiffPruning, Growing, ScopeRules
from tests.callbacks.plain import Plain, callback, data, trainer, values
from tests.callbacks.test_many_sources import STEPS, Net, batches, differences
from tests.callbacks.test_many_sources import loader as loader_of
from tests.callbacks.test_signals import SignalAt

NUM_RANKS = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("LOCAL_RANK", 0))
DDP = {"strategy": "ddp", "devices": NUM_RANKS} if NUM_RANKS > 1 else {}


class AtBoundary(Callback):
    """Writes a checkpoint at the end of the dense phase."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer, module):
        if trainer.global_step == 10:
            trainer.save_checkpoint(self.folder / "boundary.ckpt")


class Traffic(TorchDispatchMode):
    """Counts the bytes of gradients that this rank gives to be summed, by phase.

    DDP sends what it sends on its own by the same operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter = Counter()
        self.phase = None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.c10d.allreduce_.default:
            self.bytes[self.phase] += sum(t.numel() * t.element_size() for t in args[0])
        return func(*args, **(kwargs or {}))


class InPhase(Callback):
    """Counts only while gradients are made, and tells phases apart."""

    def __init__(self, traffic: Traffic, sft: SparseMaskCallback) -> None:
        self.traffic, self.sft, self.num_steps = traffic, sft, Counter()

    def on_before_backward(self, trainer, module, loss):
        self.traffic.phase = self.sft.phase

    def on_after_backward(self, trainer, module):
        self.traffic.phase = None
        self.num_steps[self.sft.phase] += 1


class Differently(Plain):
    """Starts from other weights on each rank, as a head without a common seed would."""

    def __init__(self) -> None:
        super().__init__(seed=RANK)
        self.double()


def fit(folder: Path, accumulate: int = 1, ckpt_path: str | None = None, extra=(), **settings):
    """Both phases, 8 examples a step whatever the ranks and micro-batches are."""
    dataset = data(dtype=torch.float64).dataset
    validation = data(16, seed=2, dtype=torch.float64).dataset

    def loader(dataset):
        sampler = SequentialSampler(dataset)
        if NUM_RANKS > 1:
            sampler = DistributedSampler(dataset, NUM_RANKS, RANK, shuffle=False)
        return DataLoader(dataset, batch_size=8 // NUM_RANKS // accumulate, sampler=sampler)

    sft = callback(
        10,
        Phase(max_steps=10, l1=1.0),
        Phase(max_epochs=3, l1=1.0),
        **settings,
        monitor="val_loss",
        mode="min",
        output_dir=str(folder),
    )
    module = Differently()
    run = trainer(
        sft,
        AtBoundary(folder),
        *extra,
        default_root_dir=folder,
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=0.5,
        **DDP,
    )
    run.fit(module, loader(dataset), loader(validation), ckpt_path=ckpt_path)
    return {"weights": module.state_dict(), "mask": sft.ticket.mask.digest()}


def fit_sources(folder: Path):
    """On several source languages, each rank with its half of every batch."""
    paths = {}
    for code, sft in differences().items():
        sft.save_pretrained(folder / f"{RANK}-{code}")
        paths[code] = str(folder / f"{RANK}-{code}")
    mine = slice(RANK, None, NUM_RANKS)
    items = [batch | {"x": batch["x"][mine], "y": batch["y"][mine]} for batch in batches(STEPS)]
    sparse = SparseMaskCallback(
        Budget(num_params=9),
        dense=Phase(max_steps=STEPS),
        sparse=Phase(max_steps=STEPS),
        output_dir=str(folder),
    )
    net = Net()
    run = trainer(LanguageSfts(paths), sparse, use_distributed_sampler=False, **DDP)
    run.fit(net, loader_of(items))
    return {"weights": values(net.layers), "mask": sparse.ticket.mask.digest()}


def fit_with_signals(folder: Path):
    """At the end of passes one rank gets a signal, the other one first; both end, and go on."""
    path = None
    for rank in (1, 0, 1):
        signals = [SignalAt("on_before_backward", 5)] if rank == RANK else []
        try:
            fit(folder, 1, path, extra=[*signals, SaveOnSignal()])
        except Interrupted as interrupted:
            path = interrupted.path
    held = fit(folder, 1, path)
    return held | {"path": path}


def count_traffic(folder: Path):
    """Bytes of gradients per step of each phase."""
    sft = callback(
        10,
        Phase(max_steps=3),
        Phase(max_steps=5),
        scope=ScopeRules(whole=["layers.3"]),
        output_dir=str(folder),
    )
    with Traffic() as traffic:
        counting = InPhase(traffic, sft)
        run = trainer(sft, counting, use_distributed_sampler=False, **DDP)
        run.fit(Plain(), DataLoader(data().dataset, batch_size=4))
    return {phase: traffic.bytes[phase] / n for phase, n in counting.num_steps.items()}


FITS = {
    "as the paper": fit,
    "gates": lambda folder: fit(folder, selection=DiffPruning(l0=0.01)),
    "rounds": lambda folder: fit(folder, rounds=Growing(2)),
    "sources": fit_sources,
}
IN_TWO_PROCESSES = FITS | {
    "resumed": lambda folder: fit(folder, 1, str(folder.parent / "as the paper" / "boundary.ckpt")),
    "accumulated": lambda folder: fit(folder, 2),
    "traffic": count_traffic,
    "signals": fit_with_signals,
}


def main(root: Path) -> None:
    """Run all fits; write what this rank holds after each."""
    torch.set_num_threads(1)
    for name, run in IN_TWO_PROCESSES.items():
        folder = root / name
        folder.mkdir(exist_ok=True)
        torch.save(run(folder), folder / f"rank{RANK}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
