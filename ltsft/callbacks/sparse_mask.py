"""Lottery-ticket sparse fine-tuning inside one ``trainer.fit``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer
from typing_extensions import override

from ltsft.callbacks.best_weights import Mode
from ltsft.callbacks.checkpoint_moment import Moment, check_moment
from ltsft.callbacks.clock import Clock
from ltsft.callbacks.fit import Fit
from ltsft.callbacks.keeper import Keeper
from ltsft.callbacks.monitor import Monitor
from ltsft.callbacks.phase import Phase
from ltsft.callbacks.phase_log import log_phases
from ltsft.callbacks.progress import show_phases
from ltsft.callbacks.saving import save_beside_earlier
from ltsft.callbacks.settings import (
    check_folder,
    check_has_fit,
    check_metadata,
    check_order,
    check_rounds,
    default_hold,
    purpose_of,
    resolve_budget,
    resolve_scope,
)
from ltsft.callbacks.sharding import check_begins, check_sharded
from ltsft.callbacks.sound import check_schedules, check_values, unchanged
from ltsft.callbacks.stopping import Patience
from ltsft.callbacks.summary import summarise, where_to
from ltsft.callbacks.trainer_loops import (
    are_gradients_whole,
    check_gradients,
    check_steps,
    close_pass,
    count_new_pass,
    is_quick_run,
    lift_limits,
    validates_next,
    when_built,
)
from ltsft.callbacks.until_settled import UntilSettled
from ltsft.errors import LtsftError, expect_type
from ltsft.sparse import (
    Budget,
    Growing,
    Hold,
    LargestChange,
    PhaseName,
    Program,
    Rewinding,
    Rounds,
    ScopeRules,
    Selection,
    SparseFineTuning,
    Ticket,
    ToStart,
    add_l1_gradient,
    freeze,
)

_PLAIN = (str, int, float, list, dict, type(None))
"""Types of options that can be compared."""


class SparseMaskCallback(Callback):
    """Trains a sparse fine-tuning: dense phase, select, rewind, sparse phase, difference.

    Algorithm 1 of Ansell et al. (2022), §3.1, around any LightningModule:

    1. *Dense phase*: everything trainable is trained; the best weights of the phase are kept.
    2. *Select* the K maskable entries that changed most.
    3. *Rewind* every parameter, heads too, to its value before training (or as `rewinding` says).
    4. *Sparse phase*: train again with a fresh optimizer and schedule, but only the K entries and
       the whole parameters move; all other entries stay bit-equal to their initial values.
    5. *Difference*: φ = best weights of the sparse phase - initial weights, as a
       :class:`~ltsft.sparse.SparseFineTuning` in :attr:`sft` and in the file
       ``sft/sft.safetensors``.

    The callback only says when. What is done is in :class:`~ltsft.sparse.Ticket`, and the order in
    :class:`~ltsft.sparse.Program`.

    The Trainer gets no limits of its own (``max_epochs=-1``): lengths belong to the phases.
    ``trainer.estimated_stepping_batches`` in ``configure_optimizers`` is the length of the phase.
    Of strategies that shard parameters it takes FSDP2 alone, see
    :class:`~ltsft.callbacks.FullySharded`. EarlyStopping is refused (use `patience`).

    A module may say more about itself through optional attributes: ``scope_rules()``, ``sft_root``
    (the sub-module that names and fine-tuning refer to; it must hold everything that trains),
    ``sft_metadata()``, ``monitor`` and ``monitor_mode``.

    Args:
        budget: K; left out with `Biases`, `AllEntries` and `NoEntries`.
        dense: Length of the dense phase. The default is the paper's for tagging, parsing and NER.
        sparse: Length of the sparse phase.
        selection: How entries are chosen; ``None`` is :class:`~ltsft.sparse.LargestChange`.
        until_settled: When the dense phase ends before its length is reached, because the entries
            it would choose stay the same. ``None``: never.
        rounds: How the K entries are found in several rounds, each with a dense phase:
            :class:`~ltsft.sparse.Growing` or :class:`~ltsft.sparse.Shrinking`. ``None``: in one.
        rewinding: Where the sparse phase starts; ``None`` is :class:`~ltsft.sparse.ToStart`.
        scope: Which parameters are maskable, whole or frozen. ``None``: what the module says in
            ``scope_rules()``, otherwise all are maskable.
        monitor: Logged metric by which the best weights of each phase are chosen. ``None``: the
            module's ``monitor``; where there is none, or no validation, the last weights are taken.
        mode: Whether ``min`` or ``max`` of `monitor` is best. ``None``: the module's
            ``monitor_mode``.
        output_dir: Folder in which ``sft/`` is written. ``None``: the logger's folder, beside the
            checkpoints.
        hold: How all but the selected entries are held in the sparse phase. ``None`` is
            :class:`~ltsft.sparse.Compact`, by which optimizers step vectors of K entries; or,
            where the module or a callback has a hook in which it may look at gradients, or
            optimizes by hand, :class:`~ltsft.sparse.Masked`, with which ``parameter.grad`` is
            there for others to see.

    Raises:
        LtsftError: If an argument is of another type, or `selection`, `rounds` and `rewinding`
            cannot go together.

    Example:
        >>> callback = SparseMaskCallback(
        ...     Budget(num_params=100), dense=Phase(max_steps=500), sparse=Phase(max_steps=500)
        ... )
        >>> print(callback.program)
        dense, select by LargestChange, rewind by ToStart, sparse
        >>> trainer = Trainer(callbacks=[callback], max_epochs=-1)  # doctest: +SKIP
    """

    def __init__(
        self,
        budget: Budget | None = None,
        dense: Phase | None = None,
        sparse: Phase | None = None,
        selection: Selection | None = None,
        until_settled: UntilSettled | None = None,
        rounds: Rounds | None = None,
        rewinding: Rewinding | None = None,
        scope: ScopeRules | None = None,
        monitor: str | None = None,
        mode: Mode | None = None,
        output_dir: str | None = None,
        hold: Hold | None = None,
    ) -> None:
        for name, value, kind, example in (
            ("budget", budget, Budget, "Budget(density=0.05)"),
            ("dense", dense, Phase, "dense=Phase(max_steps=1_000)"),
            ("sparse", sparse, Phase, "sparse=Phase(max_steps=1_000)"),
            ("selection", selection, Selection, "selection=LargestChange()"),
            ("until_settled", until_settled, UntilSettled, "until_settled=UntilSettled()"),
            ("rounds", rounds, Rounds, "rounds=Growing(2)"),
            ("rewinding", rewinding, Rewinding, "rewinding=ToStart()"),
            ("scope", scope, ScopeRules, 'scope=ScopeRules(whole=["head"])'),
            ("monitor", monitor, str, 'monitor="val_loss", mode="min"'),
            ("hold", hold, Hold, "hold=Compact()"),
        ):
            expect_type(name, value, kind, example)
        if mode not in (None, "min", "max"):
            raise LtsftError(f"`sparse.mode` is expected to be `min` or `max`, but got {mode!r}.")
        self.budget = budget
        self.dense = dense or Phase(max_epochs=3)
        self.sparse = sparse or Phase(max_epochs=10)
        self.selection = selection or LargestChange()
        self.until_settled = until_settled
        self.rounds = rounds or Growing(1)
        self.rewinding = rewinding or ToStart()
        self.scope_rules = scope
        self.monitor = monitor
        self.mode = mode
        self.output_dir = output_dir
        self.hold = hold
        self.program = Program(self.selection, self.rounds, self.rewinding)
        self.sft: SparseFineTuning | None = None
        self._fit: Fit | None = None
        self._undo_setup: Callable[[], None] | None = None

    # ------------------------------------------------------------------ for others to see

    @property
    def phase(self) -> PhaseName | None:
        """The phase that training is in, or ended in; ``None`` before any fit."""
        return None if self._fit is None else self._fit.clock.phase

    @property
    def ticket(self) -> Ticket | None:
        """θ⁰ and the mask of the fit; ``None`` before training begins."""
        return self.fit.ticket if self._fit is not None and self._fit.has_begun else None

    def position(self, trainer: Trainer) -> str:
        """Phase, steps done and its length, e.g. ``dense 120/400``."""
        return self.fit.clock.position(trainer)

    @property
    def fit(self) -> Fit:
        """All state of the fit that training is in."""
        assert self._fit is not None, "asked for before `trainer.fit`"
        return self._fit

    # ------------------------------------------------------------------ before training

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self.sft = self._fit = None
        lift_limits(trainer)
        check_order(self, self.selection, trainer)
        self._undo_setup = when_built(pl_module, lambda: self._begin(trainer, pl_module))

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the state of the fit, once the module has all its layers."""
        self._end_setup()
        root = getattr(pl_module, "sft_root", pl_module)
        scope = resolve_scope(self.scope_rules, pl_module, root)
        check_metadata(pl_module)
        num_params = resolve_budget(self.budget, self.selection, root, scope)
        check_rounds(self.rounds, root, scope, num_params)
        self._fit = Fit(
            root,
            scope,
            num_params=num_params,
            clock=Clock(self.program, {"dense": self.dense, "sparse": self.sparse}, trainer),
            keeper=Keeper(Monitor(self.monitor, self.mode, pl_module)),
            moment=Moment(trainer),
            hold=self.hold or default_hold(trainer, pl_module),
            stops=[Patience(), *([self.until_settled] if self.until_settled else [])],
        )
        check_sharded(self.fit, trainer)
        # For the whole fit, and before it: DDP must not see it change.
        self.fit.undo.callback(freeze(root, scope))
        self.fit.undo.callback(self.fit.clock.show_to(pl_module, trainer))
        self.fit.undo.callback(show_phases(trainer, pl_module, self.fit.clock))
        self.fit.undo.callback(log_phases(trainer, self.fit.clock))

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_values(self.fit.root, self.fit.scope)
        check_schedules(trainer)
        check_has_fit(trainer, self.fit.is_resumed)
        # Not in `setup`: under DDP all ranks hold the first rank's weights only now.
        self.fit.take_initial(purpose_of(pl_module))  # θ⁰
        self.fit.hold_what_stays(trainer)
        self.fit.schedules.remember(trainer)
        self.fit.clock.check_step(self.rewinding.step, trainer)
        self.fit.random.restore(trainer)
        self.fit.random.restart_loader(trainer)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clock = self.fit.clock
        check_begins(self.fit, trainer)
        self.fit.random.load_loader(trainer)
        self.fit.keeper.monitor.check_validation(trainer)
        for stop in self.fit.stops:
            stop.check(clock, self.fit.keeper, trainer)
        folder = self._folder(trainer)
        check_folder(folder)
        before, self.fit.summary = self.fit.summary, list(summarise(self.fit, trainer))
        for line in (*self.fit.summary, where_to(folder, trainer)):
            rank_zero_info(line)
        for line in (line for line in before if line not in self.fit.summary):
            rank_zero_warn(f"The checkpoint is of a fit that was another: {line}")
        self.fit.validate_if_due(trainer)
        if clock.over and clock.is_last:  # resumed at the end of a phase
            trainer.should_stop = True
        elif not clock.over:
            count_new_pass(trainer)
        else:
            close_pass(trainer)
            self.fit.boundary.cross(trainer, is_last=False)
        clock.tell_samplers(trainer)
        self.fit.moment.settle("on_train_start")

    # ------------------------------------------------------------------ the algorithm

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clock = self.fit.clock
        if clock.over and not clock.is_last:
            self.fit.keeper.put_back(self.fit.ticket, clock.phase)  # θ¹
            if clock.leg.selects:
                self.fit.select()  # μ
                self.fit.ticket.rewind(self.rewinding)  # θ ← θ⁰
            self.fit.begin_next(trainer)
        if not trainer.fit_loop.is_resuming:
            self.fit.random.restore(trainer)
        clock.tell_samplers(trainer)

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.fit.moment.begin_batch()
        if self.phase == "dense":
            self.selection.place(self.fit.ticket.candidates(), training=True)

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not are_gradients_whole(trainer):
            return
        if self.fit.clock.steps_done(trainer) == 0 and pl_module.automatic_optimization:
            check_gradients(trainer, self.fit.ticket.parameters.items())
        self.fit.hold.mask_gradients()  # μ ⊙ ∇L

    @override
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.phase == "dense":
            self.selection.observe(self.fit.ticket.candidates())
        if weight := self.fit.clock.settings.l1:
            add_l1_gradient(self.fit.ticket, weight, self.fit.hold)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.fit.random.forget()
        self.fit.loss.look(outputs, trainer.global_step, batch_idx)
        self.fit.clock.tick(trainer)
        if self.phase == "dense":
            self.selection.remove(self.fit.ticket.candidates())
            self.fit.keep_early_if_due(trainer)
        if self.fit.clock.over:
            self.fit.boundary.close(trainer)
        self.fit.validation_due = validates_next(trainer)
        self.fit.moment.settle("on_train_batch_end")

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        self.fit.moment.begin_validation()
        if self.phase == "dense":
            self.selection.place(self.fit.ticket.candidates(), training=False)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        self.fit.validation_due = False
        self.fit.keeper.offer(self.fit.ticket, trainer, pl_module)
        if self.fit.ends_early(trainer):
            self.fit.clock.over = True
            self.fit.boundary.close(trainer)
        if self.phase == "dense":
            self.selection.remove(self.fit.ticket.candidates())
        self.fit.moment.settle("on_validation_end")

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.fit.loss.check()
        num_steps = self.fit.clock.steps_done(trainer)
        check_steps(pl_module, num_steps, has_moved=num_steps == 0 and self.fit.ticket.has_moved())
        self.fit.boundary.cross(trainer, is_last=self.fit.clock.is_last)
        self.fit.moment.settle("on_train_epoch_end")

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not `fit_loop.skip`, which is also true once a fit is done.
        if 0 in (trainer.limit_train_batches, trainer.fit_loop.max_batches):
            raise LtsftError(
                "the training data are expected to have a batch, but there is none to train on "
                "(`trainer.limit_train_batches`?): no sparse fine-tuning was made."
            )

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clock, ticket = self.fit.clock, self.fit.ticket
        if not (clock.over and clock.is_last):
            rank_zero_warn(
                f"Training stopped in the phase {self.position(trainer)}: no sparse fine-tuning "
                "was made. Go on with `ckpt_path`."
            )
            self.fit.moment.settle("on_train_end")
            return
        self.fit.keeper.put_back(ticket, clock.phase)  # θ²
        if clock.leg.selects:  # no sparse phase follows
            if not clock.finished:
                self.fit.select()
            ticket.rewind(self.rewinding)
        clock.finished = True
        about = {"versions": {"lightning": lightning.__version__}} | self.fit.describe()
        self.sft = ticket.difference(**about | getattr(pl_module, "sft_metadata", dict)())  # φ
        if line := unchanged(self.sft):
            rank_zero_warn(line)
        folder = self._folder(trainer)
        if trainer.is_global_zero and not is_quick_run(trainer):
            save_beside_earlier(self.sft, folder)
            rank_zero_info(f"{self.sft!r} written to {folder}.")
        self.fit.moment.settle("on_train_end")

    def _folder(self, trainer: Trainer) -> Path:
        """Where the fine-tuning is written; to be asked for on all ranks."""
        log_dir = trainer.log_dir  # agreed on by them
        return Path(self.output_dir or log_dir or trainer.default_root_dir) / "sft"

    # ------------------------------------------------------------------ afterwards

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end_setup()
        if self._fit is not None:
            self._fit.end()

    def _end_setup(self) -> None:
        if self._undo_setup is not None:
            self._undo_setup()
            self._undo_setup = None

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, pl_module, "fit")

    @override
    def state_dict(self) -> dict[str, Any]:
        return self.fit.state_dict() if self.ticket is not None else {}

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        check_moment(checkpoint)
        before, now = checkpoint.get("hyper_parameters", {}), pl_module.hparams
        changed = [
            f"{name} was {before[name]!r} and is {now[name]!r}"
            for name in before.keys() & now.keys()
            if isinstance(before[name], _PLAIN) and before[name] != now[name]
        ]
        if changed and trainer.state.fn == TrainerFn.FITTING:
            rank_zero_warn(
                "The checkpoint is of a fit with other options: "
                f"{', '.join(sorted(changed))}; optimizers go on with those that they had."
            )

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict and self._fit is not None and not self._fit.ended:
            self._fit.load_state_dict(state_dict)
