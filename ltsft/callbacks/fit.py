"""One fit: all its state, born together and saved together, and the steps of Algorithm 1."""

from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn

from ltsft.callbacks.boundary import Boundary
from ltsft.callbacks.checkpoint_moment import Moment
from ltsft.callbacks.clock import Clock
from ltsft.callbacks.keeper import Keeper
from ltsft.callbacks.resumed_random import ResumedRandom
from ltsft.callbacks.settings import check_resumable
from ltsft.callbacks.sound import FiniteLoss
from ltsft.callbacks.stopping import Stop, Validated
from ltsft.callbacks.trainer_loops import Schedules, advance_schedules, forget_scores, validate
from ltsft.sparse import Averaging, Hold, Masked, Scope, Ticket, current_ranks
from ltsft.sparse.shard import reshard


class Fit:
    """What a :class:`~ltsft.callbacks.SparseMaskCallback` keeps and does in one ``trainer.fit``.

    Args:
        root: The module whose parameters train.
        scope: Which of them are maskable, whole or frozen.
        num_params: K; 0 where the selection implies it.
        clock: Where in the program training is.
        keeper: The best weights.
        moment: Whether a checkpoint may be written now.
        hold: How what is not selected is held in sparse phases.
        stops: What may end a phase early.
    """

    def __init__(
        self,
        root: nn.Module,
        scope: Scope,
        *,
        num_params: int,
        clock: Clock,
        keeper: Keeper,
        moment: Moment,
        hold: Hold,
        stops: list[Stop],
    ) -> None:
        self.root = root
        self.scope = scope
        self.num_params = num_params
        self.clock = clock
        self.program = clock.program
        self.keeper = keeper
        self.moment = moment
        self.hold_of_sparse = hold
        self.hold: Hold = Masked()  # for dense phases that hold, whose gradients selections look at
        self.stops = stops
        self.boundary = Boundary()
        self.random = ResumedRandom()
        self.loss = FiniteLoss()
        self.schedules = Schedules()
        self.undo = ExitStack()
        self.undo.callback(lambda: self.hold.detach())
        self.ended = False
        self.validation_due = False  # after the hooks of this batch
        self.summary: list[str] = []  # what was said of it at its start
        self.averaging: Averaging | None = None  # of gradients, over ranks
        self._ticket: Ticket | None = None
        self._saved_ticket: dict[str, Any] | None = None
        # They may have been used before, in a fit that was cut short.
        self.program.selection.reset()
        for stop in stops:
            stop.reset()

    @property
    def has_begun(self) -> bool:
        """Whether θ⁰ was taken."""
        return self._ticket is not None

    @property
    def is_resumed(self) -> bool:
        """Whether a checkpoint's state was loaded, and training has not begun."""
        return self._saved_ticket is not None

    @property
    def ticket(self) -> Ticket:
        """θ⁰ and the mask, once training begins."""
        assert self._ticket is not None, "asked for before `on_fit_start`"
        return self._ticket

    # ------------------------------------------------------------------ the algorithm

    def take_initial(self, purpose: str = "") -> None:
        """Take θ⁰ from the module as it is now, or from the checkpoint that was loaded.

        Args:
            purpose: Of the fine-tuning, see :class:`~ltsft.sparse.Ticket`.
        """
        self._ticket = Ticket(
            self.root, self.scope, ranks=current_ranks(self.root), purpose=purpose
        )
        if self._saved_ticket is not None:
            self._ticket.load_state_dict(self._saved_ticket)
            self._saved_ticket = None
        if self.program.selects_first and self._ticket.mask is None:
            self.select()

    def select(self) -> None:
        """Choose the entries of the round; every rank chooses for itself, and the same."""
        selection = self.program.selection
        if not self.keeper.keeps:  # otherwise the best weights were kept as validated
            selection.place(self.ticket.candidates(), training=False)
        self.ticket.select(selection, self._num_selected, self.program.rounds, tell=rank_zero_info)
        if selection.needs_dense_phase and selection.trains_in_dense_phase:
            self._warn_of_unchanged()
        selection.reset()

    def _warn_of_unchanged(self) -> None:
        """Warn where entries were chosen by chance, because too few changed."""
        mask = self.ticket.mask
        assert mask is not None
        candidates = self.ticket.candidates()
        still = self.program.selection.num_unchanged(candidates, mask)
        if still:
            num_selected = sum(self.ticket.ranks.of_shards(mask.num_selected))
            rank_zero_warn(
                f"{still:,} of the {num_selected:,} selected entries did not change in the "
                "dense phase: train longer or at a higher rate, and check that the optimizer has "
                "the maskable parameters."
            )

    def begin_next(self, trainer: Trainer) -> None:
        """Begin the next phase of the program, with new optimizers and schedules."""
        self.clock.advance(trainer)
        self.keeper.begin_phase()
        for stop in self.stops:
            stop.reset()
        leg = self.clock.leg
        if leg.begins_round:
            self.ticket.begin_round()
        elif leg.phase == "sparse":
            self.ticket.forget_round()
        self.hold.detach()
        reshard(self.root)  # optimizers are to step the shards
        self.root.zero_grad()  # what is left of the phase before is not this one's
        forget_scores(trainer)
        before = {id(optimizer) for optimizer in trainer.optimizers}
        trainer.strategy.setup_optimizers(trainer)
        for optimizer in trainer.optimizers:
            if id(optimizer) in before:  # the module keeps it, and gives the same one again
                optimizer.state.clear()
        self.schedules.begin_anew(trainer)
        advance_schedules(trainer, leg.first_step)
        self.hold_what_stays(trainer)

    def hold_what_stays(self, trainer: Trainer) -> None:
        """Hold what may not move in this phase, under the optimizers there are now."""
        self.hold.detach()
        self.hold = self.hold_of_sparse if self.clock.phase == "sparse" else Masked()
        self.averaging = self.averaging or Averaging.of(trainer.strategy.model)
        if self.averaging is not None:
            self.averaging.only_selected_of(self.ticket if self.clock.leg.holds else None)
        if self.clock.leg.holds:
            self.hold.attach(self.ticket, trainer.optimizers)
            if self.clock.is_last and not self.hold.needs_initial:
                self.ticket.release()

    def keep_early_if_due(self, trainer: Trainer) -> None:
        """Keep the weights that rewinding goes back to, once their step was taken."""
        step = self.program.rewinding.step
        if 0 < step == self.clock.steps_done(trainer) and not self.ticket.early:
            self.ticket.keep_early()

    def ends_early(self, trainer: Trainer) -> bool:
        """Whether a rule ends the phase here; never before the step that rewinding goes back to."""
        reached = self.clock.steps_done(trainer) >= self.program.rewinding.step
        if self.clock.over or trainer.sanity_checking or not reached:
            return False
        selection, rounds = self.program.selection, self.program.rounds
        validated = Validated(
            self.clock,
            self.keeper.best,
            lambda: selection.select(self.ticket.candidates(rounds), self._num_selected),
            selection.looks_at == "weights",
            trainer,
        )
        return any(stop.ends(validated) for stop in self.stops)

    @property
    def _num_selected(self) -> int:
        """Number of entries to select in this round."""
        num_maskable = self.ticket.candidates().num_maskable()
        return self.program.num_selected(self.clock.leg, num_maskable, self.num_params)

    def describe(self) -> dict[str, Any]:
        """What a fine-tuning says of how it was trained; fields of `Metadata`."""
        program = self.program
        return {
            "rounds": str(program.rounds),
            "rewinding": None if program.selects_first else type(program.rewinding).__name__,
            "phases": self.clock.describe(self.keeper.monitor.name, self.keeper.scored),
        }

    def end(self) -> None:
        """Leave module, data and optimizers as they were; a second call does nothing."""
        self.undo.close()
        self.ended = True

    # ------------------------------------------------------------------ resuming

    @property
    def settings(self) -> dict[str, Any]:
        """What a fit has to share with the one that a checkpoint is of."""
        scope, program = self.scope, self.program
        return {
            "trained": list(scope.trained),
            "num_params": self.num_params,
            "options": {
                "selection": str(program.selection),
                "rewinding": str(program.rewinding),
                "rounds": str(program.rounds),
                "hold": str(self.hold_of_sparse),
                "scope": f"{len(scope.maskable)} maskable and {len(scope.whole)} whole",
            },
        }

    def validate_if_due(self, trainer: Trainer) -> None:
        """Validate what a checkpoint was written just before the validation of.

        ``every_n_train_steps`` of ModelCheckpoint writes after a batch; Lightning goes on with the
        next one, so that other weights would be best, and another mask be chosen.
        """
        if not self.validation_due:
            return
        self.random.restore(trainer)
        with self.moment.going_on():
            self.undo.callback(validate(trainer))
        self.random.load_state_dict(self.random.state_dict())
        self.random.restart_loader(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The state of all parts, tensors and primitives only."""
        return {
            **self.moment.state_dict(),
            "settings": self.settings,
            "clock": self.clock.state_dict(),
            "validation_due": self.validation_due,
            "summary": self.summary,
            "keeper": self.keeper.state_dict(),
            "ticket": self.ticket.state_dict(),
            "selection": self.program.selection.state_dict(),
            "stops": [stop.state_dict() for stop in self.stops],
            "random": self.random.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; the ticket follows in :meth:`take_initial`.

        Raises:
            LtsftError: If it is of a fit with other settings.
        """
        check_resumable(state["settings"], self.settings)
        self.clock.load_state_dict(state["clock"])
        self.validation_due = state["validation_due"]
        self.summary = state["summary"]
        self.keeper.load_state_dict(state["keeper"])
        self.program.selection.load_state_dict(state["selection"])
        for stop, saved in zip(self.stops, state["stops"], strict=False):
            stop.load_state_dict(saved)
        self.random.load_state_dict(state["random"])
        self._saved_ticket = state["ticket"]
