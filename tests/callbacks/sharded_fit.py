"""Fits that test_sharding compares: run by one process in place, or by two that share the model.

Usage, in each of the processes: python -m tests.callbacks.sharded_fit FOLDER
"""

import os
import sys
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from ltsft.callbacks import FullySharded, LanguageSfts, Phase, UntilSettled
from ltsft.callbacks.sharding import share_out
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Compact,
    FisherInformation,
    Growing,
    LearningRate,
    ScopeRules,
    Sign,
    SparseDelta,
    SparseFineTuning,
)
from tests.callbacks.plain import Plain, callback, data, trainer

NUM_RANKS = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("LOCAL_RANK", 0))


class Whole(Plain):
    """Knows of no shards."""

    def __init__(self) -> None:
        super().__init__()
        self.double()


class Own(Whole):
    """Shares itself out, as Lightning's documentation has it."""

    def configure_model(self) -> None:
        if NUM_RANKS > 1:
            from torch.distributed.fsdp import fully_shard

            mesh = self.device_mesh["data_parallel"]
            fully_shard(self.layers[0], mesh=mesh)
            fully_shard(self.layers, mesh=mesh)


def loader(num: int, seed: int, accumulate: int):
    """8 examples a step, whatever the number of ranks and micro-batches."""
    dataset = data(num, seed=seed, dtype=torch.float64).dataset
    sampler = SequentialSampler(dataset)
    if NUM_RANKS > 1:
        sampler = DistributedSampler(dataset, NUM_RANKS, RANK, shuffle=False)
    return DataLoader(dataset, batch_size=8 // NUM_RANKS // accumulate, sampler=sampler)


def fit(folder, *callbacks, module=None, strategy=None, ckpt_path=None, accumulate=1, **settings):
    """Both phases; returns the fine-tuning, which all ranks have."""
    sft = callback(
        10,
        Phase(max_steps=10, l1=1.0),
        Phase(max_epochs=3, l1=1.0),
        scope=ScopeRules(whole=["layers.3"]),
        output_dir=str(folder),
        **{"monitor": "val_loss", "mode": "min", **settings},
    )
    shared = {"strategy": strategy or FullySharded(), "devices": NUM_RANKS}
    run = trainer(
        sft,
        *callbacks,
        use_distributed_sampler=False,
        gradient_clip_val=0.5,
        accumulate_grad_batches=accumulate,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        **(shared if NUM_RANKS > 1 else {}),
    )
    module = module or Whole()
    run.fit(module, loader(40, 1, accumulate), loader(16, 2, accumulate), ckpt_path=ckpt_path)
    return sft.sft


def fit_own(folder):
    """Under Lightning's strategy, in a module that shares itself out."""
    strategy = ModelParallelStrategy(data_parallel_size=NUM_RANKS, tensor_parallel_size=1)
    return fit(folder, module=Own(), strategy=strategy)


def fit_again(folder):
    """A second fine-tuning, of the module that a first one left."""
    module = Whole()
    fit(folder / "first", module=module)
    return fit(folder, module=module)


def fit_with_checkpoints(folder):
    """Written in both phases, and never gone on from."""
    saving = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    return fit(folder, saving)


FITS = {
    "as the paper": fit,
    "compact": lambda folder: fit(folder, hold=Compact()),
    "its own way": fit_own,
    "accumulated": lambda folder: fit(folder, accumulate=2),
    "accumulated, compact": lambda folder: fit(folder, accumulate=2, hold=Compact()),
    "again": fit_again,
    "rounds": lambda folder: fit(folder, rounds=Growing(2)),
    "rounds, last weights": lambda folder: fit(folder, rounds=Growing(2), monitor=None),
    "rewound to the learning rate": lambda folder: fit(folder, rewinding=LearningRate()),
    "checkpoints": fit_with_checkpoints,
}


class Tied(Whole):
    """Two parts have one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(6, 8)
        self.other.weight = self.layers[0].weight


class Elsewhere(Whole):
    """Starts from other weights on each rank."""

    def __init__(self) -> None:
        super().__init__()
        self.layers[3].bias.data += RANK


def sources(folder):
    delta = SparseDelta((8,), torch.tensor([1]), torch.ones(1))
    SparseFineTuning({"layers.0.bias": delta}).save_pretrained(folder / f"rank{RANK}")
    return LanguageSfts({"a": str(folder / f"rank{RANK}")})


REFUSED = {
    "selection": lambda folder: fit(folder, selection=FisherInformation()),
    "rewinding": lambda folder: fit(folder, rewinding=Sign()),
    "until_settled": lambda folder: fit(folder, until_settled=UntilSettled()),
    "languages": lambda folder: fit(folder, sources(folder)),
    "hold": lambda folder: fit(folder, ModelCheckpoint(folder), hold=Compact()),
    "resumed": lambda folder: fit(folder, ckpt_path=folder.parent / "checkpoints" / "step=4.ckpt"),
    "tied": lambda folder: fit(folder, module=Tied()),
    "elsewhere": lambda folder: fit(folder, module=Elsewhere()),
}


class Layered(nn.Module):
    """Layers as models of transformers have them, inside of which are lists again."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Module()
        inner = nn.Module()
        inner.parts = nn.ModuleList([nn.Linear(2, 2)])
        self.deep.layers = nn.ModuleList([inner, nn.Linear(2, 2, bias=False)])
        self.out = nn.Linear(2, 2, bias=False)
        self.out.weight = self.deep.layers[1].weight


def shared_out() -> list[str]:
    """Names of what is shared out of its own, after a fit that left the processes connected."""
    module = lightning.LightningModule()
    torch.manual_seed(0)
    module.encoder = Layered()
    module.heads = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    module.loss = nn.CrossEntropyLoss()
    share_out(module, init_device_mesh("cpu", (NUM_RANKS,)))
    return [name for name, part in module.named_modules() if isinstance(part, FSDPModule)]


def main(root: Path) -> None:
    """Run all fits; write what this rank got."""
    torch.set_num_threads(1)
    for name, run in FITS.items():
        (root / name).mkdir(exist_ok=True)
        run(root / name).save_pretrained(root / name / f"rank{RANK}")
    told = {}
    for name, run in REFUSED.items():
        (root / name).mkdir(exist_ok=True)
        try:
            run(root / name)
            told[name] = ""
        except LtsftError as error:
            told[name] = str(error)
    told["shared out"] = shared_out()
    torch.save(told, root / f"rank{RANK}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
