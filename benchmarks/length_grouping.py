"""What `group_by_length` saves: sub-words that are padding, and time of training steps.

Usage: python benchmarks/length_grouping.py MODEL TREEBANK.conllu [--batch-size 8] [--batches 60]

Both orders are of one pass over the treebank. Forward and backward passes of as many batches of
each, spread evenly over the pass, are timed in turn, so that a busy machine slows both alike.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ltsft.data import TaggingData
from ltsft.tasks import Tagger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("treebank")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--batches", type=int, default=60)
    options = parser.parse_args()
    loaders = {}
    for grouped in (False, True):
        data = TaggingData(
            options.model,
            train={"xx": options.treebank},
            group_by_length=grouped,
            global_batch_size=options.batch_size,
        )
        loaders[grouped] = data.train_dataloader()
    tagger = Tagger(base_model=options.model, labels=data.labels)
    seconds = {False: 0.0, True: 0.0}
    for grouped, loader in loaders.items():
        masks = [batch["attention_mask"] for batch in loader]
        total = sum(mask.numel() for mask in masks)
        text = int(sum(mask.sum() for mask in masks))
        print(f"grouped={grouped}: {total:,} sub-words in a pass, {1 - text / total:.1%} padding")

    def spread(loader: Any) -> Iterator[dict[str, Any]]:
        return islice(loader, 0, None, max(1, len(loader) // options.batches))

    for pair in zip(spread(loaders[False]), spread(loaders[True]), strict=True):
        for grouped, batch in zip((False, True), pair, strict=True):
            begin = time.perf_counter()
            tagger.training_loss(batch).mean.backward()
            seconds[grouped] += time.perf_counter() - begin
            tagger.zero_grad()
    for grouped, spent in seconds.items():
        print(f"grouped={grouped}: {spent:.1f} s for the same number of batches")


if __name__ == "__main__":
    main()
