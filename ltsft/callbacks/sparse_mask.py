"""Lottery-ticket sparse fine-tuning inside one ``trainer.fit``."""

from functools import wraps
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from ltsft import __version__
from ltsft.callbacks import random_state
from ltsft.callbacks.best_weights import BestWeights, Mode
from ltsft.callbacks.l1 import L1Penalty
from ltsft.callbacks.phase import Phase, PhaseClock
from ltsft.callbacks.ranks import check_equal, gather
from ltsft.callbacks.trainer_loops import close_pass, is_quick_run, lift_limits
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Budget,
    Candidates,
    Freezer,
    LargestChange,
    Mask,
    Metadata,
    Scope,
    ScopeRules,
    Selection,
    SparseFineTuning,
)
from ltsft.sparse.applied import base_digests
from ltsft.sparse.scope import tied_names


class SparseMaskCallback(Callback):
    """Trains a sparse fine-tuning: dense phase, select, rewind, sparse phase, difference.

    Algorithm 1 of Ansell et al. (2022), §3.1, around any LightningModule:

    1. *Dense phase*: everything trainable is trained; the best weights of the phase are kept.
    2. *Select* the K maskable entries that changed most.
    3. *Rewind* every parameter, heads too, to its value before training.
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
        budget: K; needed by all selections but `Biases`.
        dense: Length of the dense phase. The default is the paper's for tagging, parsing and NER.
        sparse: Length of the sparse phase.
        selection: How entries are chosen; ``None`` is :class:`~ltsft.sparse.LargestChange`.
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
        scope: ScopeRules | None = None,
        monitor: str | None = None,
        mode: Mode | None = None,
        output_dir: str | None = None,
    ) -> None:
        self.budget = budget
        self.dense = dense or Phase(max_epochs=3)
        self.sparse = sparse or Phase(max_epochs=10)
        self.selection = selection or LargestChange()
        self.scope_rules = scope
        self.monitor = monitor
        self.mode = mode
        self.output_dir = output_dir
        self.sft: SparseFineTuning | None = None
        self._root: nn.Module = nn.Module()
        self._undo: list[Any] = []

    # ------------------------------------------------------------------ before training

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        lift_limits(trainer)
        self.sft = None
        self._root = getattr(pl_module, "sft_root", pl_module)
        self._scope = self._resolve_scope(pl_module)
        self._num_params = self._resolve_budget()
        self._monitor, self._mode = self._resolve_monitor(trainer, pl_module)
        self._clock = PhaseClock(
            {"dense": self.dense, "sparse": self.sparse},
            first="dense" if self.selection.needs_dense_phase else "sparse",
        )
        self._best = BestWeights(self._mode)
        self._mask: Mask | None = None
        self._freezer: Freezer | None = None
        self._initial: dict[str, Tensor] = {}
        self._base_digests: dict[str, str] = {}
        self._random_states: list[dict[str, Any]] = []
        self._stopped_by_us = False
        self._validates_every: int | None = None
        self._device = pl_module.device
        self._scored: dict[str, float | None] = {}
        self._freeze(pl_module)
        self._show_the_phase_to(trainer, pl_module)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._device = pl_module.device
        if self._initial:  # restored from a checkpoint
            self._initial = {n: t.to(pl_module.device) for n, t in self._initial.items()}
        else:
            # Here, not in `setup`: under DDP all ranks hold the first rank's weights only now.
            self._initial = self._weights()
            self._base_digests = base_digests(self._root, self._scope.maskable)
        if self._clock.phase == "sparse":
            self._begin_sparse_phase(trainer)
        self._restore_random_state(trainer)
        if self._random_states and trainer.fit_loop._data_fetcher is not None:
            iter(trainer.fit_loop._data_fetcher)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor and not trainer.enable_validation:
            raise LtsftError(
                f"`sparse.monitor` is expected to be a metric of the validation, but "
                f"{self.monitor!r} never appears without one; give validation data or leave it out."
            )
        if self._clock.over and self._clock.phase == "sparse":
            trainer.should_stop = True  # resumed after the end: nothing is left to train
        elif self._clock.over:
            close_pass(trainer)
        self._start_pass(trainer)

    # ------------------------------------------------------------------ the algorithm

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._clock.over and self._clock.phase == "dense":
            self._take_best_weights()
            self._mask = self._select()
            self._put(self._initial)  # rewind
            self._clock.start("sparse", trainer)
            self._best = BestWeights(self._mode)
            trainer.strategy.setup_optimizers(trainer)
            self._begin_sparse_phase(trainer)
        if not trainer.fit_loop.is_resuming:
            self._restore_random_state(trainer)
        self._start_pass(trainer)

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._freezer is not None:
            self._freezer.mask_gradients()

    @override
    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if weight := self._clock.current.l1:
            L1Penalty(self._root, self._scope.trained, self._initial, weight).add_gradient()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._random_states = []
        self._clock.tick(trainer)
        if self._clock.over:
            self._end_phase(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._monitor is None or trainer.state.fn != TrainerFn.FITTING:
            return
        value = self._monitored(trainer)
        if trainer.sanity_checking:
            return
        self._best.offer(value, self._weights())
        patience = self._clock.current.patience
        if patience is not None and self._best.num_since >= patience:
            self._clock.over = True
            self._end_phase(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._validates_every is not None:
            trainer.check_val_every_n_epoch, self._validates_every = self._validates_every, None
        if self._stopped_by_us and self._clock.phase == "dense":
            trainer.should_stop = self._stopped_by_us = False

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (self._clock.over and self._clock.phase == "sparse"):
            rank_zero_warn(
                f"Training stopped in the phase {self.position(trainer)}: no sparse fine-tuning "
                "was made. Go on with `ckpt_path`."
            )
            return
        self._take_best_weights()
        self.sft = self._difference(pl_module)
        self._save(trainer)

    # ------------------------------------------------------------------ its steps

    def _select(self) -> Mask:
        """Choose the K entries; every rank chooses for itself, and the same."""
        candidates = Candidates(self._root, self._scope, self._initial)
        num_maskable = candidates.num_maskable()
        rank_zero_info(
            f"{type(self.selection).__name__}: selecting "
            + (f"{self._num_params:,} " if self.selection.needs_budget else "")
            + f"of {num_maskable:,} maskable entries."
        )
        mask = self.selection.select(candidates, self._num_params)
        check_equal(mask.digest(), "the mask")
        num_total = sum(parameter.numel() for parameter in self._root.parameters())
        rank_zero_info(
            f"Selected {mask.num_selected:,} entries: {mask.density:.2%} of the maskable, "
            f"{mask.num_selected / num_total:.2%} of the whole model"
            f"{self.selection.describe(candidates, mask)}."
        )
        return mask

    def _begin_sparse_phase(self, trainer: Trainer) -> None:
        """Hold everything but the selected entries, under the optimizers there are now."""
        if self._mask is None:
            self._mask = self._select()
        self._mask = self._mask.to(next(self._root.parameters()).device)
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
        if self._monitor is not None:
            if self._best.value is None:
                raise LtsftError(
                    f"`{self._monitor}` is expected to be a number at least once in the "
                    f"{self._clock.phase} phase, but was NaN each time: training diverged; lower "
                    "the learning rate or clip gradients (`trainer.gradient_clip_val: 1.0`)."
                )
            rank_zero_info(
                f"Best {self._monitor} of the {self._clock.phase} phase: {self._best.value:.4f}."
            )
            self._put(self._best.weights)
        self._scored[self._clock.phase] = self._best.value

    def _difference(self, pl_module: LightningModule) -> SparseFineTuning:
        """φ = θ² - θ⁰, after a check that nothing else moved."""
        assert self._mask is not None
        assert self._freezer is not None
        if moved := self._freezer.moved():
            raise RuntimeError(f"unselected entries moved in {', '.join(moved)}")
        buffers = {
            name: buffer
            for name, buffer in _buffers(self._root).items()
            if not torch.equal(buffer, self._initial[name])
        }
        parameters = dict(self._root.named_parameters())
        return SparseFineTuning.from_difference(
            self._root,
            self._initial,
            self._mask,
            whole={name: parameters[name] for name in self._scope.whole} | buffers,
            metadata=self._metadata(pl_module),
        )

    def _metadata(self, pl_module: LightningModule) -> Metadata:
        assert self._mask is not None
        describe = getattr(pl_module, "sft_metadata", dict)
        phases = {
            name: {
                "steps": self._clock.lengths[name],
                "monitor": self._monitor,
                "best": self._scored[name],
                "l1": phase.l1,
            }
            for name, phase in self._clock.phases.items()
            if name in self._scored
        }
        return Metadata(
            **{
                "base_digests": self._base_digests,
                "tied": [name for names in tied_names(self._root).values() for name in names],
                "selection": type(self.selection).__name__,
                "num_params": self._mask.num_selected,
                "num_maskable": self._mask.num_maskable,
                "num_total": sum(parameter.numel() for parameter in self._root.parameters()),
                "phases": phases,
                "versions": {
                    "ltsft": __version__,
                    "torch": torch.__version__,
                    "lightning": lightning.__version__,
                },
                **describe(),
            }
        )

    def _save(self, trainer: Trainer) -> None:
        folder = Path(self.output_dir or trainer.log_dir or trainer.default_root_dir) / "sft"
        if trainer.is_global_zero and not is_quick_run(trainer) and self.sft is not None:
            self.sft.save_pretrained(folder)
            rank_zero_info(f"{self.sft!r} written to {folder}.")

    def _start_pass(self, trainer: Trainer) -> None:
        """Tell samplers that ask for it which pass of which phase begins."""
        for loader in trainer.fit_loop._combined_loader.flattened:  # type: ignore[union-attr]
            sampler = getattr(loader, "batch_sampler", None)
            if sampler is not None and hasattr(sampler, "set_pass"):
                sampler.set_pass(self._clock.phase, self._clock.passes_done(trainer))

    def position(self, trainer: Trainer) -> str:
        """Phase, steps done and its length, e.g. ``dense 120/400``."""
        steps = self._clock.steps_done(trainer)
        return f"{self._clock.phase} {steps}/{self._clock.num_steps}"

    # ------------------------------------------------------------------ weights

    def _weights(self) -> dict[str, Tensor]:
        """Copies of everything that a phase may change: parameters that train, and buffers."""
        parameters = dict(self._root.named_parameters())
        trained = {name: parameters[name] for name in self._scope.trained}
        return {n: t.detach().clone() for n, t in (trained | _buffers(self._root)).items()}

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        tensors = dict(self._root.named_parameters()) | _buffers(self._root)
        for name, value in weights.items():
            tensors[name].copy_(value)

    # ------------------------------------------------------------------ settings

    def _resolve_scope(self, pl_module: LightningModule) -> Scope:
        rules = self.scope_rules or getattr(pl_module, "scope_rules", ScopeRules)()
        scope = rules.resolve(self._root)
        inside = {id(parameter) for parameter in self._root.parameters()}
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and id(parameter) not in inside:
                raise LtsftError(
                    f"`sft_root` is expected to hold all parameters that train, but `{name}` is "
                    "outside; move it inside or set its `requires_grad` to False."
                )
        return scope

    def _resolve_budget(self) -> int:
        parameters = dict(self._root.named_parameters())
        num_maskable = sum(parameters[name].numel() for name in self._scope.maskable)
        if not self.selection.needs_budget:
            if self.budget is not None:
                raise LtsftError(
                    "`sparse.budget` is expected to be left out with "
                    f"`{type(self.selection).__name__}`, which implies the number of entries."
                )
            return 0
        if self.budget is None:
            raise LtsftError(
                "`sparse.budget` is expected to be given, but is missing; set one of "
                "`sparse.budget.num_params`, `.density` and `.reduction_factor`."
            )
        return self.budget.resolve(self._root, num_maskable)

    def _resolve_monitor(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> tuple[str | None, Mode]:
        own, own_mode = (getattr(pl_module, name, None) for name in ("monitor", "monitor_mode"))
        monitor = self.monitor or own
        mode = self.mode or (own_mode if monitor == own else None)
        if monitor is None or (self.monitor is None and not trainer.enable_validation):
            rank_zero_info("No monitored metric: each phase ends with its last weights.")
            return None, "min"
        if mode not in ("min", "max"):
            raise LtsftError(
                f"`sparse.mode` is expected to be `min` or `max` for the metric {monitor!r}, "
                f"but got {mode!r}."
            )
        return monitor, mode

    def _monitored(self, trainer: Trainer) -> float:
        """The monitored metric, the mean over ranks, so that all agree on the best weights."""
        metrics = trainer.callback_metrics
        if self._monitor not in metrics:
            raise LtsftError(
                f"`sparse.monitor` is expected to be a metric that the validation logs, but "
                f"{self._monitor!r} is none of {', '.join(sorted(metrics)) or 'none at all'}."
            )
        value = metrics[self._monitor].detach().to(self._device).clone()
        return float(trainer.strategy.reduce(value, reduce_op="mean"))

    def _freeze(self, pl_module: LightningModule) -> None:
        """Fix `requires_grad` for the whole fit; DDP must not see it change."""
        parameters = dict(self._root.named_parameters())
        for name in self._scope.frozen:
            parameter = parameters[name]
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                self._undo.append(parameter.requires_grad_)

    def _show_the_phase_to(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let `configure_optimizers` see each phase as if it were the whole fit."""
        configure = pl_module.configure_optimizers

        @wraps(configure)
        def configure_optimizers() -> Any:
            with self._clock.as_the_whole_fit(trainer):
                return configure()

        pl_module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]
        self._undo.append(lambda: delattr(pl_module, "configure_optimizers"))

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
            "initial": self._initial,
            "base_digests": self._base_digests,
            "mask": None if self._mask is None else self._mask.indices(),
            "best": self._best.state_dict(),
            "scored": self._scored,
            "random_states": gather(random_state.capture()),
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not state_dict or not self._undo:  # nothing was saved, or this is no fit
            return
        self._initial = state_dict["initial"]
        self._check_resumable(state_dict)
        self._clock.load_state_dict(state_dict["clock"])
        self._base_digests = state_dict["base_digests"]
        self._best.load_state_dict(state_dict["best"])
        self._scored = state_dict["scored"]
        self._random_states = state_dict["random_states"]
        if state_dict["mask"] is not None:
            parameters = dict(self._root.named_parameters())
            self._mask = Mask.from_indices(
                state_dict["mask"], {n: parameters[n].shape for n in self._scope.maskable}
            )

    def _check_resumable(self, state: dict[str, Any]) -> None:
        expected = self._weights()
        if state["initial"].keys() != expected.keys():
            odd = sorted(state["initial"].keys() ^ expected.keys())
            raise LtsftError(
                "the checkpoint is expected to be of a fit with the same model and `sparse.scope`, "
                f"but `{odd[0]}` trains in one and not in the other."
            )
        if state["num_params"] != self._num_params:
            raise LtsftError(
                "the checkpoint is expected to be of a fit with the same `sparse.budget`, but it "
                f"has {state['num_params']:,} entries and this one {self._num_params:,}."
            )

    def _restore_random_state(self, trainer: Trainer) -> None:
        """Put random state back, as often as it takes until the first batch of a resumed run.

        A loader draws its seed when its iterator is made. On resuming after a whole pass that is
        before `on_fit_start`, when data were set up early for the phases' lengths; on resuming from
        the validation at the end of a pass it is once more after `on_train_epoch_start`. Each time
        the draw must come from the saved state.
        """
        if not self._random_states:
            return
        if len(self._random_states) != trainer.world_size:
            rank_zero_warn(
                f"The checkpoint is of {len(self._random_states)} ranks and this run has "
                f"{trainer.world_size}: random states start afresh."
            )
            self._random_states = []
            return
        random_state.restore(self._random_states[trainer.global_rank])


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """Persistent buffers, such as BatchNorm's running statistics."""
    persistent = module.state_dict(keep_vars=True).keys()
    return {name: b for name, b in module.named_buffers() if name in persistent}
