"""Lottery-ticket sparse fine-tuning inside one ``trainer.fit``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from ltsft.callbacks.best_weights import BestWeights, Mode
from ltsft.callbacks.choice import choose, log_overlap
from ltsft.callbacks.l1 import L1Penalty
from ltsft.callbacks.monitor import Monitor
from ltsft.callbacks.outcome import difference
from ltsft.callbacks.phase import Phase, PhaseClock, PhaseName
from ltsft.callbacks.ranks import check_equal
from ltsft.callbacks.resumed_random import ResumedRandom
from ltsft.callbacks.settings import (
    check_order,
    check_resumable,
    check_rewinding,
    check_rounds,
    check_until_settled,
    freeze,
    resolve_budget,
    resolve_scope,
)
from ltsft.callbacks.trainer_loops import (
    advance_schedules,
    close_pass,
    is_quick_run,
    lift_limits,
    tell_samplers,
    validate,
)
from ltsft.callbacks.until_settled import UntilSettled
from ltsft.callbacks.weights import TrainedWeights
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Budget,
    Candidates,
    Freezer,
    Growing,
    LargestChange,
    Mask,
    Rewinding,
    Rounds,
    ScopeRules,
    Selection,
    SparseFineTuning,
    ToStart,
)
from ltsft.sparse.applied import base_digests


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

    The Trainer gets no limits of its own (``max_epochs=-1``): lengths belong to the phases.
    ``trainer.estimated_stepping_batches`` in ``configure_optimizers`` is the length of the phase.
    Not supported: strategies that shard parameters, and EarlyStopping (use `patience`).

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

    Example:
        >>> callback = SparseMaskCallback(
        ...     Budget(num_params=100), dense=Phase(max_steps=500), sparse=Phase(max_steps=500)
        ... )
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
    ) -> None:
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
        self.sft: SparseFineTuning | None = None
        self._root: nn.Module = nn.Module()
        self._undo: list[Callable[[], object]] = []
        check_rewinding(self.rewinding, self.selection)
        check_rounds(self.rounds, self.selection, self.rewinding)

    # ------------------------------------------------------------------ before training

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        lift_limits(trainer)
        check_order(self, self.selection, trainer)
        self.sft = None
        self._root = getattr(pl_module, "sft_root", pl_module)
        self._scope = resolve_scope(self.scope_rules, pl_module, self._root)
        self._weights = TrainedWeights(self._root, self._scope)
        self._num_params = resolve_budget(self.budget, self.selection, self._root, self._scope)
        self._monitor = Monitor(self.monitor, self.mode, pl_module)
        self._clock = PhaseClock(
            {"dense": self.dense, "sparse": self.sparse},
            first="dense" if self.selection.needs_dense_phase else "sparse",
        )
        self._best = BestWeights(self._monitor.mode)
        self.selection.reset()
        if self.until_settled is not None:
            self.until_settled.reset()
        self._round = 0
        self._mask: Mask | None = None
        self._within: Mask | None = None  # entries that may be selected; `None`: all
        self._freezer: Freezer | None = None
        self._initial: dict[str, Tensor] = {}  # θ⁰
        self._start: dict[str, Tensor] = {}  # where the round began
        self._at_step: dict[str, Tensor] = {}
        self._base_digests: dict[str, str] = {}
        self._random = ResumedRandom()
        self._stopped_by_us = False
        self._validates_every: int | None = None
        self._validated_at = -1
        self._scored: dict[PhaseName, float | None] = {}
        self._finished = False
        self._undo += [freeze(self._root, self._scope), self._clock.show_to(pl_module, trainer)]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._initial:  # restored from a checkpoint
            self._initial = {n: t.to(pl_module.device) for n, t in self._initial.items()}
            self._start = {n: t.to(pl_module.device) for n, t in self._start.items()}
        else:
            # Here, not in `setup`: under DDP all ranks hold the first rank's weights only now.
            self._initial = self._weights.copy()
            self._base_digests = base_digests(self._root, self._scope.maskable)
        self._start = self._start or self._initial
        if self._clock.phase == "sparse" and self._mask is None:  # there is no dense phase
            self._mask = self._select()
        self._hold(trainer)
        self._clock.check_step(self.rewinding.step, trainer)
        self._random.restore(trainer)
        self._random.restart_loader(trainer)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._monitor.check_validation(trainer)
        check_until_settled(self.until_settled, self.selection, trainer)
        if self._clock.over:
            self._validate_if_due(trainer)
        if self._clock.over and self._is_last_phase:
            trainer.should_stop = True  # resumed after the end: nothing is left to train
        elif self._clock.over:
            close_pass(trainer)
        self._start_pass(trainer)

    # ------------------------------------------------------------------ the algorithm

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._clock.over and not self._is_last_phase:
            self._take_best_weights()
            if self._clock.phase == "dense":
                self._mask = self._select()
                self._rewind()
                self._begin(trainer, self._after_selection, at_step=self.rewinding.step)
            else:
                self._begin(trainer, "dense")
        if not trainer.fit_loop.is_resuming:
            self._random.restore(trainer)
        self._start_pass(trainer)

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._clock.phase == "dense":
            self.selection.place(self._candidates, training=True)

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._freezer is not None:
            self._freezer.mask_gradients()

    @override
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self._clock.phase == "dense":
            self.selection.observe(self._candidates)
        if weight := self._clock.current.l1:
            L1Penalty(self._root, self._scope.trained, self._initial, weight).add_gradient()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._random.forget()
        if self._clock.phase == "dense":
            self.selection.remove(self._candidates)
        self._clock.tick(trainer)
        if self._clock.phase == "dense" and self._has_reached_step(trainer):
            self._at_step = self._weights.copy()
        if self._clock.over:
            self._end_phase(trainer)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._clock.phase == "dense":
            self.selection.place(self._candidates, training=False)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if self._monitor.name is not None:
            value = self._monitor.value(trainer, pl_module)
            if not trainer.sanity_checking:
                self._best.offer(value, self._weights.tensors())
                self._validated_at = trainer.global_step
        if self._may_end_early(trainer) and (
            self._ran_out_of_patience or self._has_settled(trainer)
        ):
            self._clock.over = True
            self._end_phase(trainer)
        if self._clock.phase == "dense":
            self.selection.remove(self._candidates)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._validates_every is not None:
            trainer.check_val_every_n_epoch, self._validates_every = self._validates_every, None
        if self._stopped_by_us and not self._is_last_phase:
            trainer.should_stop = self._stopped_by_us = False

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (self._clock.over and self._is_last_phase):
            rank_zero_warn(
                f"Training stopped in the phase {self.position(trainer)}: no sparse fine-tuning "
                "was made. Go on with `ckpt_path`."
            )
            return
        self._take_best_weights()
        if self._clock.phase == "dense":  # no sparse phase
            if not self._finished:
                self._mask = self._select()
            self._rewind()
        self._finished = True
        assert self._mask is not None
        self.sft = difference(
            self._weights, self._initial, self._mask, self._describe(pl_module), self._base_digests
        )
        self._save(trainer)

    # ------------------------------------------------------------------ its steps

    def _select(self) -> Mask:
        """Choose the K entries; every rank chooses for itself, and the same."""
        candidates = self._candidates
        if self._monitor.name is None:  # otherwise the best weights were kept as validated
            self.selection.place(candidates, training=False)
        mask = choose(self.selection, candidates, self._num_selected, self.rounds, self._mask)
        check_equal(mask.digest(), "the mask")
        self.selection.reset()
        return mask

    def _has_reached_step(self, trainer: Trainer) -> bool:
        """Whether the step that rewinding goes back to was just taken, by its last batch."""
        step = self.rewinding.step
        return step > 0 and not self._at_step and self._clock.steps_done(trainer) == step

    def _may_end_early(self, trainer: Trainer) -> bool:
        """Whether a phase may end here: not before the step that rewinding goes back to."""
        reached = self._clock.steps_done(trainer) >= self.rewinding.step
        return reached and not self._clock.over and not trainer.sanity_checking

    @property
    def _ran_out_of_patience(self) -> bool:
        patience = self._clock.current.patience
        return patience is not None and self._best.num_since >= patience

    def _has_settled(self, trainer: Trainer) -> bool:
        """Whether the dense phase would choose the same entries again and again."""
        if self.until_settled is None or self._clock.phase != "dense":
            return False
        if self.selection.goes_by_weights and not self._best.is_newest:
            return False  # the phase would select from weights whose entries were compared already
        mask = self.selection.select(self._candidates, self._num_selected)
        overlap = self.until_settled.compare(mask)
        log_overlap(overlap, self.position(trainer), trainer)
        return self.until_settled.reached

    def _rewind(self) -> None:
        """Put unselected entries back to their start, and the others where `rewinding` says."""
        assert self._mask is not None
        self._weights.put(self.rewinding.start(self._candidates, self._mask, self._at_step))

    @property
    def _after_selection(self) -> PhaseName:
        return "sparse" if self.rounds.sparse_between or self._is_last_round else "dense"

    def _begin(self, trainer: Trainer, phase: PhaseName, at_step: int = 0) -> None:
        """Begin a phase, with a new optimizer and its schedule at a step; a dense one: a round."""
        if self.until_settled is not None:
            self.until_settled.reset()
        if phase == "dense":
            self._round += 1
            if self.rounds.sparse_between:
                self._start = self._weights.copy()
        else:  # of no more use, and as large as the model
            self._start, self._at_step = self._initial, {}
        self._clock.start(phase, trainer, steps_done=at_step)
        self._best = BestWeights(self._monitor.mode)
        trainer.strategy.setup_optimizers(trainer)
        advance_schedules(trainer, at_step)
        self._hold(trainer)

    def _hold(self, trainer: Trainer) -> None:
        """Hold what may not move in this phase, under the optimizers there are now."""
        self._freezer = None
        if self._mask is None:
            return
        self._mask = self._mask.to(next(self._root.parameters()).device)
        self._within = self.rounds.within(self._mask) if self._clock.phase == "dense" else None
        if self._clock.phase == "sparse" or not self.rounds.sparse_between:
            self._freezer = Freezer(self._root, self._initial, self._mask)
            self._undo += [self._freezer.hold(optimizer).remove for optimizer in trainer.optimizers]

    def _end_phase(self, trainer: Trainer) -> None:
        """Let Lightning validate the phase's last weights and close the epoch.

        Switching phases right here would make that validation, and any checkpoint after it, see
        the rewound weights under the dense phase's score.
        """
        if not trainer.should_stop:
            trainer.should_stop = self._stopped_by_us = True
        if trainer.check_val_every_n_epoch is not None and self._validates_every is None:
            self._validates_every, trainer.check_val_every_n_epoch = (
                trainer.check_val_every_n_epoch,
                1,
            )

    def _take_best_weights(self) -> None:
        """Put back the best weights of the phase that ended, if any were kept."""
        if self._monitor.name is not None:
            if self._best.value is None:
                raise LtsftError(
                    f"`{self._monitor.name}` is expected to be a number at least once in the "
                    f"{self._clock.phase} phase, but was NaN each time: training diverged; lower "
                    "the learning rate or clip gradients (`trainer.gradient_clip_val: 1.0`)."
                )
            rank_zero_info(
                f"Best {self._monitor.name} of the {self._clock.phase} phase: "
                f"{self._best.value:.4f}."
            )
            self._weights.put(self._best.weights)
        self._scored[self._clock.phase] = self._best.value

    def _describe(self, pl_module: LightningModule) -> dict[str, Any]:
        """What the fine-tuning says of itself."""
        return {
            "selection": str(self.selection),
            "rounds": str(self.rounds),
            "rewinding": type(self.rewinding).__name__ if "dense" in self._scored else None,
            "phases": self._clock.describe(self._monitor.name, self._scored),
            **getattr(pl_module, "sft_metadata", dict)(),
        }

    def _save(self, trainer: Trainer) -> None:
        folder = Path(self.output_dir or trainer.log_dir or trainer.default_root_dir) / "sft"
        if trainer.is_global_zero and not is_quick_run(trainer) and self.sft is not None:
            self.sft.save_pretrained(folder)
            rank_zero_info(f"{self.sft!r} written to {folder}.")

    def _start_pass(self, trainer: Trainer) -> None:
        # Rounds are told apart: one would repeat the order and the draws of the one before.
        phase = f"{self._clock.phase} {self._round + 1}" if self._round else self._clock.phase
        tell_samplers(trainer, phase, self._clock.passes_done(trainer))

    def position(self, trainer: Trainer) -> str:
        """Phase, steps done and its length, e.g. ``dense 120/400``."""
        steps = self._clock.steps_done(trainer)
        return f"{self._clock.phase} {steps}/{self._clock.num_steps}"

    @property
    def _candidates(self) -> Candidates:
        return Candidates(self._root, self._scope, self._start, within=self._within)

    @property
    def _num_selected(self) -> int:
        """Number of entries to select in this round."""
        if not self.selection.needs_budget:
            return 0
        num_maskable = self._candidates.num_maskable()
        return self.rounds.num_selected(num_maskable, self._num_params)[self._round]

    @property
    def _is_last_round(self) -> bool:
        return self._round + 1 == self.rounds.num

    @property
    def _is_last_phase(self) -> bool:
        last: PhaseName = "sparse" if self.rewinding.needs_sparse_phase else "dense"
        return self._is_last_round and self._clock.phase == last

    @property
    def _settings(self) -> dict[str, str]:
        """What a fit has to share with the one that a checkpoint is of, by option."""
        return {
            "selection": str(self.selection),
            "rewinding": str(self.rewinding),
            "rounds": str(self.rounds),
            "scope": f"{len(self._scope.maskable)} maskable and {len(self._scope.whole)} whole",
        }

    # ------------------------------------------------------------------ after training

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo = []

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, pl_module, "fit")

    # ------------------------------------------------------------------ resuming

    @override
    def state_dict(self) -> dict[str, Any]:
        if not self._initial:
            return {}
        return {
            "clock": self._clock.state_dict(),
            "num_params": self._num_params,
            "settings": self._settings,
            "round": self._round,
            "finished": self._finished,
            "initial": self._initial,
            "start": {} if self._start is self._initial else self._start,
            "at_step": self._at_step,
            "base_digests": self._base_digests,
            "mask": None if self._mask is None else self._mask.indices(),
            "best": self._best.state_dict(),
            "validated_at": self._validated_at,
            "scored": self._scored,
            "selection": self.selection.state_dict(),
            "settled": None if self.until_settled is None else self.until_settled.state_dict(),
            "random_states": self._random.state(),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not state_dict or not self._undo:  # nothing was saved, or this is no fit
            return
        self._initial = state_dict["initial"]
        self._start = state_dict["start"]
        self._round = state_dict["round"]
        self._finished = state_dict["finished"]
        self._at_step = state_dict["at_step"]
        check_resumable(state_dict, self._weights, self._num_params, self._settings)
        self._clock.load_state_dict(state_dict["clock"])
        self._base_digests = state_dict["base_digests"]
        self._best.load_state_dict(state_dict["best"])
        self._validated_at = state_dict["validated_at"]
        self._scored = state_dict["scored"]
        self.selection.load_state_dict(state_dict["selection"])
        if self.until_settled is not None and state_dict["settled"] is not None:
            self.until_settled.load_state_dict(state_dict["settled"])
        self._random.load(state_dict["random_states"])
        if state_dict["mask"] is not None:
            parameters = dict(self._root.named_parameters())
            self._mask = Mask.from_indices(
                state_dict["mask"], {n: parameters[n].shape for n in self._scope.maskable}
            )

    def _validate_if_due(self, trainer: Trainer) -> None:
        """Validate the last weights of a phase that a checkpoint was written at the end of.

        One written after the phase's last batch (``every_n_train_steps``) comes before that
        validation, which may well be the best.
        """
        if self._monitor.name is None or self._validated_at == trainer.global_step:
            return
        self._random.restore(trainer)
        validate(trainer)
        self._random.load(self._random.state())
        self._random.restart_loader(trainer)
