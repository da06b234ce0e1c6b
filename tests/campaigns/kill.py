"""Fits that are killed at random moments end bit-identically to fits that are not.

Usage: python -m tests.campaigns.kill [--chains 200] [--seed 0] [--only NAME]

Each chain is a fit of one configuration in processes of its own. SIGKILL, SIGTERM, SIGUSR1 or
SIGINT ends up to five of them, at moments drawn from the time of the whole fit; each goes on
from the newest checkpoint that can be gone on from. Prints a table of counts; status 1 if any chain
ends with other weights.
"""

import argparse
import contextlib
import io
import logging
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from ltsft.callbacks import (
    LanguageSfts,
    Phase,
    SaveOnSignal,
    SparseMaskCallback,
    TimedCheckpoint,
    UntilSettled,
    WholeCheckpointIO,
)
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Budget,
    ChangeTimesMagnitude,
    Compact,
    DiffPruning,
    FisherInformation,
    Growing,
    LargestChange,
    LearningRate,
    LowRankChange,
    Masked,
    NoEntries,
    Prune,
    Quota,
    Random,
    ScopeRules,
    Shrinking,
    Sign,
    SparseFineTuning,
    ToStep,
)
from ltsft.terminal.going_on import newest_checkpoint
from tests.callbacks.plain import Plain, callback, data, trainer
from tests.callbacks.test_many_sources import Net, differences
from tests.callbacks.test_resume import Resumable

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
MOST_INTERRUPTIONS = 5

_EPOCHS = {"dense": Phase(max_epochs=2, l1=0.1), "sparse": Phase(max_epochs=2)}
_STEPS = {"dense": Phase(max_steps=13, l1=0.1), "sparse": Phase(max_steps=11, l1=0.1)}
_PATIENCE = {"dense": Phase(max_steps=30, patience=2), "sparse": Phase(max_steps=30, patience=3)}


class WithSchedule(Plain):
    """Under another schedule than a linear one over the phase."""

    def __init__(self, schedule: Callable[..., Any], **config: Any) -> None:
        super().__init__(dropout=0.3, batch_norm=True)
        self._schedule, self._config = schedule, config

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        schedule = {"scheduler": self._schedule(optimizer)} | self._config
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class ByHand(Plain):
    """Steps its optimizer itself, at every second batch, by two optimizers in turn."""

    automatic_optimization = False

    def configure_optimizers(self):
        halves = [
            list(layer.parameters()) for layer in self.layers if len(list(layer.parameters()))
        ]
        return [torch.optim.Adam(half, lr=0.05) for half in halves]

    def training_step(self, batch, batch_idx):
        (self.loss(batch) / 2).backward()
        if batch_idx % 2:
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()


class Sources(Resumable):
    """Batches of several languages, in any order."""

    def __iter__(self):
        for x, y in super().__iter__():
            language = ("aa", "bb", "cc")[self.place % 3]
            yield {"x": x.double(), "y": y.double(), "language": language}


def plain(
    make: Callable[[], Plain] = lambda: Plain(dropout=0.3, batch_norm=True),
    trainers: dict[str, Any] | None = None,
    **settings: Any,
) -> Callable[..., None]:
    """A configuration of one module with dropout and buffers, under settings of the callback."""
    options = _STEPS | settings

    def fit(folder: Path, ckpt_path: str | None, saver: Callback) -> None:
        sft = callback(10, monitor="val_loss", mode="min", output_dir=str(folder), **options)
        _fit(make(), Resumable(), sft, saver, ckpt_path, folder, **trainers or {})

    return fit


def implied(selection: Any, **settings: Any) -> Callable[..., None]:
    """One in which the selection says how many entries there are."""

    def fit(folder: Path, ckpt_path: str | None, saver: Callback) -> None:
        sft = SparseMaskCallback(
            selection=selection, output_dir=str(folder), sparse=Phase(max_steps=14), **settings
        )
        _fit(Plain(dropout=0.3), Resumable(), sft, saver, ckpt_path, folder)

    return fit


def sources(folder: Path, ckpt_path: str | None, saver: Callback) -> None:
    """On several source languages, each batch over its own fine-tuning."""
    paths = {}
    for code, sft in differences().items():
        paths[code] = str(folder / "languages" / code)
        sft.save_pretrained(paths[code])
    sparse = SparseMaskCallback(Budget(num_params=9), output_dir=str(folder), **_STEPS)
    _fit(Net(), Sources(), sparse, saver, ckpt_path, folder, LanguageSfts(paths), validates=False)


def _fit(
    module: Any,
    loader: Any,
    sft: SparseMaskCallback,
    saver: Callback,
    ckpt_path: str | None,
    folder: Path,
    *extra: Any,
    validates: bool = True,
    **settings: Any,
) -> None:
    torch.manual_seed(5)
    settings = {"val_check_interval": 3, "check_val_every_n_epoch": None} | settings
    run = trainer(
        *extra,
        sft,
        SaveOnSignal(),
        saver,
        plugins=[WholeCheckpointIO()],
        default_root_dir=folder,
        enable_checkpointing=True,
        **settings if validates else {},
    )
    validation = data(num=8, seed=2) if validates else None
    run.fit(module, loader, validation, ckpt_path=ckpt_path)
    torch.save(module.state_dict(), folder / "weights.pt")


CONFIGURATIONS: dict[str, Callable[..., None]] = {
    "as the paper": plain(),
    "epochs": plain(**_EPOCHS),
    "masked": plain(hold=Masked()),
    "compact": plain(hold=Compact(), scope=ScopeRules(whole=["layers.4"])),
    "accumulated": plain(trainers={"accumulate_grad_batches": 3}, **_EPOCHS),
    "clipped": plain(trainers={"gradient_clip_val": 0.1}),
    "patience": plain(**_PATIENCE),
    "until settled": plain(
        dense=Phase(max_steps=30), until_settled=UntilSettled(overlap=0.7, patience=2)
    ),
    "growing": plain(rounds=Growing(2)),
    "shrinking": plain(rounds=Shrinking(2)),
    "to a step": plain(rewinding=ToStep(4)),
    "learning rate": plain(rewinding=LearningRate()),
    "sign": plain(rewinding=Sign()),
    "pruned": plain(rewinding=Prune()),
    "random": plain(selection=Random()),
    "Fisher": plain(selection=FisherInformation()),
    "gates": plain(selection=DiffPruning(l0=0.01)),
    "magnitude": plain(selection=ChangeTimesMagnitude()),
    "low rank": plain(selection=LowRankChange()),
    "quota": plain(selection=Quota(LargestChange())),
    "whole only": implied(NoEntries(), scope=ScopeRules(whole=["layers.3"])),
    "validated at the end of passes": plain(
        trainers={"val_check_interval": 1.0, "check_val_every_n_epoch": 1}
    ),
    "plateau": plain(
        lambda: WithSchedule(
            lambda optimizer: ReduceLROnPlateau(optimizer, patience=0),
            interval="step",
            frequency=3,
            monitor="val_loss",
            strict=False,
        ),
        **_EPOCHS,
    ),
    "plateau of passes": plain(
        lambda: WithSchedule(
            lambda optimizer: ReduceLROnPlateau(optimizer, patience=0), monitor="val_loss"
        ),
        trainers={"val_check_interval": 1.0, "check_val_every_n_epoch": 1},
        **_EPOCHS,
    ),
    "schedule of passes": plain(
        lambda: WithSchedule(lambda optimizer: StepLR(optimizer, 1, gamma=0.5)), **_EPOCHS
    ),
    "by hand": plain(lambda: ByHand(dropout=0.3), trainers={"gradient_clip_val": None}),
    "sources": sources,
}

SAVERS: dict[str, Callable[[Path, int], Callback]] = {
    "steps": lambda folder, every: ModelCheckpoint(
        folder, every_n_train_steps=every, filename="{step}"
    ),
    "validations": lambda folder, _: ModelCheckpoint(folder, save_last="link"),
    "best": lambda folder, _: ModelCheckpoint(folder, monitor="val_loss", save_last=True),
    "clock": lambda *_: TimedCheckpoint(minutes=0.001),
}


class Chain(NamedTuple):
    """What became of a chain.

    Args:
        name: Its configuration.
        interrupted: How often by which signal.
        result: ``identical``, or what was wrong.
    """

    name: str
    interrupted: Counter[str]
    result: str


def main(args: list[str] | None = None) -> int:
    """Run the campaign.

    Returns:
        1 if any chain did not end as it should, else 0.
    """
    parser = argparse.ArgumentParser("python -m tests.campaigns.kill")
    parser.add_argument("--chains", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CONFIGURATIONS)
    options = parser.parse_args(args)
    torch.set_num_threads(1)
    names = [options.only] if options.only else list(CONFIGURATIONS)
    draw = random.Random(options.seed)
    results = []
    with tempfile.TemporaryDirectory() as root:
        expected = {}
        for number in range(options.chains):
            name = names[number % len(names)]
            if name not in expected:
                expected[name] = _run_whole(name, Path(root, name))
            chain = _run(name, Path(root, str(number)), draw, *expected[name])
            results.append(chain)
            if chain.result != "identical":
                print(f"chain {number} ({name}): {chain.result}", flush=True)
    _report(results)
    return int(any(chain.result != "identical" for chain in results))


def _run_whole(name: str, folder: Path) -> tuple[Path, float]:
    begin = time.monotonic()
    status = _in_a_process(name, folder, None, ("steps", 100))
    assert status == 0, f"{name} fails by itself: {status}\n{(folder / 'log').read_text()[-2000:]}"
    return folder, time.monotonic() - begin


def _run(name: str, folder: Path, draw: random.Random, whole: Path, seconds: float) -> Chain:
    """Interrupt a fit some times, and let it end then."""
    interrupted: Counter[str] = Counter()
    saver, every = draw.choice(list(SAVERS)), draw.randint(1, 4)
    for _ in range(draw.randint(1, MOST_INTERRUPTIONS)):
        number = draw.choice(SIGNALS)
        # A part has less left to do than the whole.
        status = _in_a_process(name, folder, number, (saver, every), draw.uniform(0, 0.7 * seconds))
        if status == 0:
            break
        # Before the fit listens, a signal does what it does to any process.
        if status not in (-number, 128 + number):
            return Chain(name, interrupted, f"ended with {status} after {number.name}")
        interrupted[number.name] += 1
    if status := _in_a_process(name, folder, None, (saver, every)) if status else 0:
        log = (folder / "log").read_text()[-2000:]
        return Chain(name, interrupted, f"does not go on: {status}\n{log}")
    result = _compare(folder, whole)
    told = "" if result == "identical" else f" (saved by {saver}, {every})"
    return Chain(name, interrupted, f"{result}{told}")


def _in_a_process(
    name: str,
    folder: Path,
    number: signal.Signals | None,
    saver: tuple[str, int],
    seconds: float = 0.0,
) -> int:
    """Run a fit, or what is left of one, in a process; maybe send it a signal after some time.

    Returns:
        Its exit status; negative: the signal that ended it.
    """
    folder.mkdir(exist_ok=True)
    # A Ctrl-C before the child is on its own would end it as if it were this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _child(name, folder, *saver)
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if number is not None:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _child(name: str, folder: Path, saver: str, every: int) -> int:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with (folder / "log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ckpt_path = newest_checkpoint([folder / "checkpoints"])
    except LtsftError:
        ckpt_path = None
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        CONFIGURATIONS[name](folder, ckpt_path, SAVERS[saver](folder / "checkpoints", every))
    except SystemExit as stop:
        is_of_lightning = isinstance(stop.__context__, KeyboardInterrupt)
        return 128 + signal.SIGINT if is_of_lightning else int(stop.code or 0)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def _compare(folder: Path, whole: Path) -> str:
    sft, expected = (SparseFineTuning.from_pretrained(path) for path in (folder, whole))
    if sft != expected:
        return "another fine-tuning"
    weights, others = (torch.load(path / "weights.pt") for path in (folder, whole))
    odd = [name for name, value in others.items() if not torch.equal(weights[name], value)]
    return f"other weights in {', '.join(odd)}" if odd else "identical"


def _report(chains: list[Chain]) -> None:
    print("| configuration | chains | " + " | ".join(s.name for s in SIGNALS) + " | identical |")
    print("|---|---|" + "---|" * len(SIGNALS) + "---|")
    for name in [*CONFIGURATIONS, "all"]:
        mine = [chain for chain in chains if name in (chain.name, "all")]
        if not mine:
            continue
        counts = sum((chain.interrupted for chain in mine), Counter())
        by_signal = " | ".join(str(counts[s.name]) for s in SIGNALS)
        identical = sum(chain.result == "identical" for chain in mine)
        print(f"| {name} | {len(mine)} | {by_signal} | {identical} |")


if __name__ == "__main__":
    sys.exit(main())
