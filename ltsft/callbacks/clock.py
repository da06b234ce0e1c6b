"""Where a fit is in its program."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from ltsft.callbacks.phase import Phase
from ltsft.callbacks.trainer_loops import is_quick_run, num_passes, tell_samplers
from ltsft.errors import LtsftError
from ltsft.sparse import Leg, PhaseName, Program

_SAVED = ("place", "over", "finished", "first_step", "first_pass", "taken", "_began_at", "_before")


class Clock:
    """The place in the program, the first step and pass of its leg, and whether the leg ended.

    Args:
        program: The phases of the fit, in order.
        phases: Their settings, by name.
        trainer: Counts steps and passes; it may have some from a fit before.
    """

    def __init__(
        self, program: Program, phases: Mapping[PhaseName, Phase], trainer: Trainer
    ) -> None:
        self.program = program
        self.phases = phases
        self.place = 0
        self.over = False
        self.finished = False  # the whole program, and what comes after
        self.first_step = trainer.global_step
        self.first_pass = num_passes(trainer)
        self.lengths: dict[PhaseName, int] = {}
        self.taken: dict[PhaseName, int] = {}  # steps in all rounds; fewer, if a phase ends early
        self._steps_per_epoch: float | None = None
        self._began_at = trainer.global_step
        self._before: dict[PhaseName, int] = {}  # steps taken by each phase before this leg

    @property
    def leg(self) -> Leg:
        """Where in the program training is."""
        return self.program[self.place]

    @property
    def phase(self) -> PhaseName:
        """Name of the phase that training is in."""
        return self.leg.phase

    @property
    def settings(self) -> Phase:
        """Settings of the phase that training is in."""
        return self.phases[self.phase]

    @property
    def is_last(self) -> bool:
        """Whether no leg follows."""
        return self.place + 1 == len(self.program)

    @property
    def num_steps(self) -> int:
        """Length of the phase that training is in, in optimizer steps."""
        return self.lengths[self.phase]

    def steps_done(self, trainer: Trainer) -> int:
        """Optimizer steps taken in this phase, those that a rewinding skipped included."""
        return trainer.global_step - self.first_step

    def steps_left(self, trainer: Trainer) -> int:
        """Optimizer steps until the end of the program, if no phase ends early."""
        later = (self.lengths[leg.phase] - leg.first_step for leg in self.program[self.place + 1 :])
        return max(self.num_steps - self.steps_done(trainer), 0) + sum(later)

    def position(self, trainer: Trainer) -> str:
        """Phase, steps done and its length, e.g. ``dense 120/400``."""
        return f"{self.phase} {self.steps_done(trainer)}/{self.num_steps}"

    def tick(self, trainer: Trainer) -> None:
        """Note the end of the phase when its steps are done."""
        before = self._before.get(self.phase, 0)
        self.taken[self.phase] = before + trainer.global_step - self._began_at
        self.over |= self.steps_done(trainer) >= self.num_steps

    def advance(self, trainer: Trainer) -> None:
        """Begin the next leg at the current step, as if those that it skips were done."""
        self.place += 1
        self.over = False
        self.first_step = trainer.global_step - self.leg.first_step
        self.first_pass = num_passes(trainer)
        self._began_at, self._before = trainer.global_step, dict(self.taken)

    def tell_samplers(self, trainer: Trainer) -> None:
        """Tell samplers that ask for it which pass of which phase begins."""
        # Rounds are told apart: one would repeat the order and the draws of the one before.
        number = self.leg.round + 1
        phase = self.phase if number == 1 else f"{self.phase} {number}"
        tell_samplers(trainer, phase, num_passes(trainer) - self.first_pass)

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

    # ------------------------------------------------------------------ for others to see

    def show_to(self, pl_module: LightningModule, trainer: Trainer) -> Callable[[], None]:
        """Let a module's ``configure_optimizers`` see each phase as if it were the whole fit.

        Returns:
            Undoes it.
        """
        configure = pl_module.configure_optimizers

        @wraps(configure)
        def configure_optimizers() -> Any:
            with self._as_the_whole_fit(trainer):
                return configure()

        pl_module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]
        return lambda: delattr(pl_module, "configure_optimizers")

    @contextmanager
    def _as_the_whole_fit(self, trainer: Trainer) -> Iterator[None]:
        """Let the phase's length be the fit's, for code that asks while optimizers are built.

        Inside, ``trainer.estimated_stepping_batches`` is the length of the phase, and
        ``trainer.max_epochs`` its passes where phases are counted in them. Outside, the
        Trainer has no limit; with both its limits at -1 the estimate is infinite, and a linear
        schedule would silently give a learning rate of 0.
        """
        if self.phase not in self.lengths:
            self._resolve(trainer)
        passes, steps = trainer.fit_loop, trainer.fit_loop.epoch_loop
        no_passes, no_steps = passes.max_epochs, steps.max_steps
        steps.max_steps = self.num_steps
        if self._steps_per_epoch is not None:  # known where a phase is counted in epochs
            passes.max_epochs = math.ceil(self.num_steps / self._steps_per_epoch)
        try:
            yield
        finally:
            passes.max_epochs, steps.max_steps = no_passes, no_steps

    def _resolve(self, trainer: Trainer) -> None:
        """Turn epochs into optimizer steps, which needs the training data's length."""
        steps_per_epoch = math.inf
        if any(phase.max_epochs is not None for phase in self.phases.values()):
            trainer.fit_loop.setup_data()
            steps_per_epoch = trainer.fit_loop.max_batches / trainer.accumulate_grad_batches
            if not math.isinf(steps_per_epoch):
                steps_per_epoch = math.ceil(steps_per_epoch)  # the last batches step as well
                self._steps_per_epoch = steps_per_epoch
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

    # ------------------------------------------------------------------ checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, primitives only."""
        return {name: getattr(self, name) for name in _SAVED}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        for name in _SAVED:
            setattr(self, name, state[name])
