"""Loaders: batches in a sampler's order, and the place in a pass for checkpoints.

They are no subclasses of ``torch.utils.data.DataLoader`` but make one per pass: Lightning rebuilds
DataLoaders with samplers of its own (under DDP, and always when predicting), which would undo ours.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ltsft.batch import Batch
from ltsft.data.serving.sampling import Draw, EvaluationSampler, Pass, TrainingSampler
from ltsft.errors import LtsftError

Collate = Callable[[list[Any]], Batch]


class TrainingLoader:
    """Serves training batches, and goes on in mid-pass after a resume.

    Its state is how far the current pass was *handed out* (workers may have fetched more). A state
    is good for its own pass: any other pass begins at its first batch. It is counted in examples
    over all ranks, so a run may go on with another number of ranks.

    Args:
        examples: What to serve.
        sampler: Which examples, in which order.
        collate: Makes a batch of examples.
        num_workers: Processes that fetch ahead; 0 fetches in this one.
        pin_memory: Put batches where a GPU copies them from fast.
    """

    def __init__(
        self,
        examples: Dataset[Any],
        sampler: TrainingSampler,
        collate: Collate,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.examples = examples
        self.batch_sampler = sampler
        self.collate = collate
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self._pass = sampler.current
        self._num_examples_handed_out = 0
        self._resumes = False

    @property
    def sampler(self) -> TrainingSampler:
        """The batch sampler, under the name where Lightning looks for ``set_epoch``."""
        return self.batch_sampler

    def __len__(self) -> int:
        """Batches of a whole pass on one rank."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator, so all of this waits for the first batch to be asked for: Lightning asks for
        # iterators before the pass is known.
        start = self._first_batch()
        self._pass = self.batch_sampler.current
        self._num_examples_handed_out = start * self._num_examples_at_once
        self._resumes = False
        for batch in _fetch(self, self.batch_sampler.batches(start)):
            self._num_examples_handed_out += self._num_examples_at_once
            yield batch

    def set_pass(self, phase: str, pass_index: int) -> None:
        """Say which pass over the data comes next."""
        self.batch_sampler.set_pass(phase, pass_index)

    def state_dict(self) -> dict[str, Any]:
        """Which pass it is, how far it was handed out, and of what data."""
        current = self.batch_sampler.current
        return {
            "phase": current.phase,
            "pass": current.number,
            "examples": self._num_examples_handed_out if current == self._pass else 0,
            "told": self.batch_sampler.passes_are_set,
            **self.batch_sampler.settings,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where that state was taken; in the next pass, if its pass was over.

        Until told otherwise: Lightning does not always start a pass anew after a resume, so nobody
        may say again which one it is.

        Raises:
            LtsftError: If the state was taken with other data, batch size or seed, whose order
                would be another.
        """
        for name, value in self.batch_sampler.settings.items():
            if state[name] != value:
                raise LtsftError(
                    f"`{name}` of the training data is expected to be {state[name]}, as in the "
                    f"checkpoint, but got {value}; resume with the same data and the same options "
                    "under `data`, or start a new fit."
                )
        self._pass = Pass(state["phase"], state["pass"])
        self._num_examples_handed_out = state["examples"]
        self._resumes = True
        is_over = self._num_examples_handed_out >= len(self) * self._num_examples_at_once
        if state["told"]:
            self.set_pass(self._pass.phase, self._pass.number + is_over)
        else:
            self.batch_sampler.set_epoch(self._pass.number + is_over)

    @property
    def _num_examples_at_once(self) -> int:
        return self.batch_sampler.examples_per_batch

    def _first_batch(self) -> int:
        if not self._resumes or self._pass != self.batch_sampler.current:
            return 0
        start, rest = divmod(self._num_examples_handed_out, self._num_examples_at_once)
        if rest:
            raise LtsftError(
                "the checkpoint is expected to lie at the end of a batch, but after "
                f"{self._num_examples_handed_out} examples it lies within one of the "
                f"{self._num_examples_at_once} that all processes take at a time now; resume "
                "with as many processes, and as much accumulation, as before."
            )
        # A pass that was over starts again if it is asked for again.
        return start if start < len(self) else 0


class EvaluationLoader:
    """Serves the same batches in the same order each time.

    Args:
        examples: What to serve.
        sampler: Which examples this rank takes.
        collate: Makes a batch of examples.
        num_workers: Processes that fetch ahead; 0 fetches in this one.
        pin_memory: Put batches where a GPU copies them from fast.
    """

    def __init__(
        self,
        examples: Dataset[Any],
        sampler: EvaluationSampler,
        collate: Collate,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.examples = examples
        self.batch_sampler = sampler
        self.collate = collate
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    @property
    def sampler(self) -> EvaluationSampler:
        """The batch sampler, under the name where Lightning looks for it."""
        return self.batch_sampler

    def __len__(self) -> int:
        """Batches on this rank."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        yield from _fetch(self, self.batch_sampler)


def _fetch(
    loader: TrainingLoader | EvaluationLoader, batches: Iterable[list[Draw]]
) -> Iterator[Batch]:
    fetching: DataLoader[Any] = DataLoader(
        loader.examples,
        batch_sampler=batches,
        collate_fn=loader.collate,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        # Its own, or each iterator would draw a seed for workers from the global random state.
        generator=torch.Generator().manual_seed(loader.batch_sampler.seed),
    )
    with _quiet_tokenizers(loader.num_workers > 0):
        iterator = iter(fetching)
    yield from iterator


@contextmanager
def _quiet_tokenizers(forks: bool) -> Iterator[None]:
    # Workers only collate, but the tokenizers library warns at each fork after it was used, unless
    # told about its threads; it looks while forking only.
    name = "TOKENIZERS_PARALLELISM"
    if not forks or name in os.environ:
        yield
        return
    os.environ[name] = "false"
    try:
        yield
    finally:
        del os.environ[name]
