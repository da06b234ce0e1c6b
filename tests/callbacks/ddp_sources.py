"""Run by processes in test_ddp: a fit on several source languages, its result written to a file.

Usage: python -m tests.callbacks.ddp_sources FOLDER NUM_RANKS
"""

import os
import sys
from pathlib import Path

import torch

from ltsft.callbacks import LanguageSfts, Phase, SparseMaskCallback
from ltsft.sparse import Budget
from tests.callbacks.plain import trainer, values
from tests.callbacks.test_many_sources import STEPS, Net, batches, differences, loader


def main(folder: Path, num_ranks: int) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ.get("LOCAL_RANK", 0))
    paths = {}
    for code, sft in differences().items():
        sft.save_pretrained(folder / f"{rank}-{code}")
        paths[code] = str(folder / f"{rank}-{code}")
    items = []
    for batch in batches(STEPS):  # each rank's half of it, all of one language
        mine = slice(rank, None, num_ranks)
        items.append({"x": batch["x"][mine], "y": batch["y"][mine], "language": batch["language"]})
    sparse = SparseMaskCallback(
        Budget(num_params=9),
        dense=Phase(max_steps=STEPS),
        sparse=Phase(max_steps=STEPS),
        output_dir=str(folder),
    )
    settings = {"strategy": "ddp", "devices": num_ranks} if num_ranks > 1 else {}
    net = Net()
    run = trainer(LanguageSfts(paths), sparse, use_distributed_sampler=False, **settings)
    run.fit(net, loader(items))
    torch.save({"weights": values(net.layers)}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
