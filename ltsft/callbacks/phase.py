"""How long a phase is, and where training is in it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer

from ltsft.callbacks.trainer_loops import is_quick_run, num_passes
from ltsft.errors import LtsftError

PhaseName = Literal["dense", "sparse"]


@dataclass
class Phase:
    """Length and regularisation of one phase.

    The length in optimizer steps is the lesser of `max_steps` and `max_epochs`, and at least
    `min_steps` (Ansell et al., 2022, §4.2: the lesser of 100 epochs and 100,000 steps, at least
    30,000). Steps count gradient accumulation and all ranks; an epoch is one pass over the data.

    Args:
        max_steps: Optimizer steps at the most.
        max_epochs: Passes over the training data at the most.
        min_steps: Optimizer steps at the least; wins over the other two.
        patience: End the phase after this many validations in a row without a new best value of
            the monitored metric. ``None``: never.
        l1: λ of the penalty λ/N · Σ|θᵢ - θ⁰ᵢ| (§3.1). The paper: 0.1 for languages, 0 for tasks.

    Raises:
        LtsftError: If a value is out of range, or the phase would have no length.
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    min_steps: int | None = None
    patience: int | None = None
    l1: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_epochs", "min_steps", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LtsftError(
                    f"`{name}` of a phase is expected to be 1 or more, but got {value}; leave a "
                    "phase out by the choice of `sparse.selection` (`Random` has no dense phase)."
                )
        if self.max_steps is None and self.max_epochs is None:
            raise LtsftError(
                "a phase is expected to have `max_steps` or `max_epochs`, but got neither; set "
                "`sparse.dense.max_steps` and `sparse.sparse.max_steps`, or the `max_epochs`."
            )
        if self.l1 < 0:
            raise LtsftError(f"`l1` of a phase is expected to be 0 or more, but got {self.l1}.")

    def num_steps(self, steps_per_epoch: float) -> int:
        """Length in optimizer steps.

        Args:
            steps_per_epoch: Optimizer steps in one pass; infinite for data without a length.

        Raises:
            LtsftError: If only `max_epochs` is given and a pass has no end.

        Example:
            >>> Phase(max_steps=100, max_epochs=3, min_steps=40).num_steps(10)
            40
        """
        lengths = [self.max_steps] if self.max_steps is not None else []
        if self.max_epochs is not None and not math.isinf(steps_per_epoch):
            lengths.append(self.max_epochs * int(steps_per_epoch))
        if not lengths:
            raise LtsftError(
                "a phase is expected to have `max_steps` where the training data have no length, "
                "but got only `max_epochs`."
            )
        return max(min(lengths), self.min_steps or 0)


class PhaseClock:
    """Where training is: the phase, its first step and pass, and whether it ended.

    Args:
        phases: Settings by phase.
        first: The phase that training starts in.
    """

    def __init__(self, phases: dict[PhaseName, Phase], first: PhaseName) -> None:
        self.phases = phases
        self.phase: PhaseName = first
        self.first_step = 0
        self.first_pass = 0
        self.over = False
        self.lengths: dict[PhaseName, int] = {}
        self.taken: dict[PhaseName, int] = {}  # steps in all rounds; fewer, if a phase ends early
        self._began_at = 0
        self._taken_before: dict[PhaseName, int] = {}

    @property
    def current(self) -> Phase:
        """Settings of the phase that training is in."""
        return self.phases[self.phase]

    @property
    def num_steps(self) -> int:
        """Length of the phase that training is in, in optimizer steps."""
        return self.lengths[self.phase]

    def steps_done(self, trainer: Trainer) -> int:
        """Optimizer steps taken in this phase."""
        return trainer.global_step - self.first_step

    def passes_done(self, trainer: Trainer) -> int:
        """Passes over the data finished in this phase."""
        return num_passes(trainer) - self.first_pass

    def tick(self, trainer: Trainer) -> None:
        """Note the end of the phase when its steps are done."""
        before = self._taken_before.get(self.phase, 0)
        self.taken[self.phase] = before + trainer.global_step - self._began_at
        self.over |= self.steps_done(trainer) >= self.num_steps

    def start(self, phase: PhaseName, trainer: Trainer, *, steps_done: int = 0) -> None:
        """Begin a phase at the current step, as if so many of its steps were done."""
        self.phase, self.over = phase, False
        self.first_step = trainer.global_step - steps_done
        self._began_at, self._taken_before = trainer.global_step, dict(self.taken)
        self.first_pass = num_passes(trainer)

    def show_to(self, pl_module: LightningModule, trainer: Trainer) -> Callable[[], None]:
        """Let a module's ``configure_optimizers`` see each phase as if it were the whole fit.

        Returns:
            Undoes it.
        """
        configure = pl_module.configure_optimizers

        @wraps(configure)
        def configure_optimizers() -> Any:
            with self.as_the_whole_fit(trainer):
                return configure()

        pl_module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]
        return lambda: delattr(pl_module, "configure_optimizers")

    def check_step(self, step: int, trainer: Trainer) -> None:
        """Refuse to go back to a step that a phase does not have.

        Raises:
            LtsftError: If so.
        """
        shortest = min(self.lengths.values())
        if step >= shortest and step > 0 and not is_quick_run(trainer):
            raise LtsftError(
                f"`sparse.rewinding.step` is expected to be below the length of both phases, "
                f"{shortest:,} steps, but got {step:,}."
            )

    @contextmanager
    def as_the_whole_fit(self, trainer: Trainer) -> Iterator[None]:
        """Let the phase's length be the fit's, for code that asks while optimizers are built.

        Inside, ``trainer.estimated_stepping_batches`` is the length of the phase. Outside, the
        Trainer has no limit; with both its limits at -1 the estimate is infinite, and a linear
        schedule would silently give a learning rate of 0.
        """
        if self.phase not in self.lengths:
            self._resolve(trainer)
        loop = trainer.fit_loop.epoch_loop
        unlimited, loop.max_steps = loop.max_steps, self.num_steps
        try:
            yield
        finally:
            loop.max_steps = unlimited

    def _resolve(self, trainer: Trainer) -> None:
        """Turn epochs into optimizer steps, which needs the training data's length."""
        steps_per_epoch = math.inf
        if any(phase.max_epochs is not None for phase in self.phases.values()):
            trainer.fit_loop.setup_data()
            steps_per_epoch = trainer.fit_loop.max_batches / trainer.accumulate_grad_batches
            if not math.isinf(steps_per_epoch):
                steps_per_epoch = math.ceil(steps_per_epoch)  # the last batches step as well
        for name, phase in self.phases.items():
            # `fast_dev_run` asks for a quick walk through everything: both phases, a batch or so.
            self.lengths[name] = is_quick_run(trainer) or phase.num_steps(steps_per_epoch)

    def describe(
        self, monitor: str | None, scored: Mapping[PhaseName, float | None]
    ) -> dict[str, dict[str, Any]]:
        """Steps taken and settings of each phase, for the metadata of what was trained.

        Args:
            monitor: The metric that the best weights were chosen by.
            scored: Its best value in each phase that there was.
        """
        return {
            name: {
                "steps": self.taken[name],
                "monitor": monitor,
                "best": best,
                "l1": self.phases[name].l1,
            }
            for name, best in scored.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, primitives only."""
        return {
            "phase": self.phase,
            "first_step": self.first_step,
            "first_pass": self.first_pass,
            "over": self.over,
            "taken": self.taken,
            "_began_at": self._began_at,
            "_taken_before": self._taken_before,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        for name, value in state.items():
            setattr(self, name, value)
