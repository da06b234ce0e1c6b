"""Time and memory of choosing K of an mBERT-sized model's entries.

Compares :func:`ltsft.sparse.select_largest` with a full sort of all |Δ| at once.

    python benchmarks/selection.py [--num-params 7667712] [--threads 2]
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ltsft.sparse import select_largest

SHAPES = {"embeddings": (119_547, 768)} | {
    f"layer.{layer}.{part}": shape
    for layer in range(12)
    for part, shape in {
        "query": (768, 768),
        "key": (768, 768),
        "value": (768, 768),
        "output": (768, 768),
        "up": (3072, 768),
        "down": (768, 3072),
    }.items()
}


def peak_gib() -> float:
    """Largest resident size of this process so far, GiB (Linux reports KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(what: str, run: Callable[[], object]) -> None:
    before, start = peak_gib(), time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    print(f"{what:<32} {seconds:6.2f} s   peak +{peak_gib() - before:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-params", type=int, default=7_667_712)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    initial = {name: torch.randn(shape) * 0.02 for name, shape in SHAPES.items()}
    trained = {name: value + torch.randn_like(value) * 1e-3 for name, value in initial.items()}

    def changes() -> Iterator[tuple[str, Tensor]]:
        for name, value in trained.items():
            yield name, (value - initial[name]).abs_()

    total = sum(value.numel() for value in initial.values())
    print(f"{args.num_params:,} of {total:,} entries, {args.threads} threads")
    report("select_largest", lambda: select_largest(changes, args.num_params))

    def sort() -> Tensor:
        every = torch.cat([change.flatten() for _, change in changes()])
        return torch.sort(every, descending=True).indices[: args.num_params]

    report("full sort of all |Δ|", sort)


if __name__ == "__main__":
    main()
