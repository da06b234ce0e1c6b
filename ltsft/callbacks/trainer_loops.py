"""The few places where the two phases touch the Trainer's own loops."""

import warnings
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import product
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    EarlyStopping,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch import nn

from ltsft.errors import LtsftError

_LIGHTNINGS_DEFAULT_MAX_EPOCHS = 1000  # what the Trainer sets when it is given no limit at all
_OTHERS_THAT_DECIDE: dict[tuple[type[Callback], ...], str] = {
    (StochasticWeightAveraging, WeightAveraging): (
        "averages the weights of both phases and moves entries that are not selected"
    ),
    (BaseFinetuning,): (
        "freezes and unfreezes parameters in the middle of a phase; say what is frozen in "
        "`sparse.scope`"
    ),
    (ModelPruning,): "puts other parameters in place of the module's; prune before or after",
}
_SHARDING = ("FSDPStrategy", "DeepSpeedStrategy")


def is_quick_run(trainer: Trainer) -> int:
    """The number of batches of a ``fast_dev_run``, 0 if it is none."""
    return int(trainer.fast_dev_run)  # type: ignore[attr-defined]


def num_passes(trainer: Trainer) -> int:
    """Passes over the data finished in the whole fit.

    Lightning's own count, for it is right on resuming from a checkpoint that was written between
    the last batch of a pass and its end, where hooks are skipped.
    """
    return int(trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]


def lift_limits(trainer: Trainer) -> None:
    """Refuse what would end the fit before both phases are done; lift Lightning's own defaults."""
    for strategy in _SHARDING:
        if any(cls.__name__ == strategy for cls in type(trainer.strategy).__mro__):
            raise LtsftError(
                "`trainer.strategy` is expected to be `ddp`, one device, or FSDP2 "
                f"(`ltsft.callbacks.FullySharded`), but got {strategy}, which hides the shapes of "
                "parameters."
            )
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(callback, EarlyStopping) for callback in callbacks):
        raise LtsftError(
            "`trainer.callbacks` is expected to be without EarlyStopping, which would end the "
            "whole fit; use `sparse.dense.patience` and `sparse.sparse.patience`."
        )
    for callback, (kinds, reason) in product(callbacks, _OTHERS_THAT_DECIDE.items()):
        if isinstance(callback, kinds):
            raise LtsftError(
                f"`trainer.callbacks` is expected to be without {type(callback).__name__}, which "
                f"{reason}."
            )
    fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
    if not is_quick_run(trainer):
        for name, value, unset in (
            ("max_epochs", fit.max_epochs, (None, -1, _LIGHTNINGS_DEFAULT_MAX_EPOCHS)),
            ("max_steps", epoch.max_steps, (None, -1)),
            ("min_steps", epoch.min_steps, (None, 0)),
            ("min_epochs", fit.min_epochs, (None, 0)),
        ):
            if value not in unset:
                raise LtsftError(
                    f"`trainer.{name}` is expected to be left out (the phases have lengths of "
                    f"their own), but got {value}; set lengths in `sparse.dense` and "
                    "`sparse.sparse` instead."
                )
    fit.max_epochs, epoch.max_steps = -1, -1


def when_built(pl_module: LightningModule, begin: Callable[[], None]) -> Callable[[], None]:
    """Do something once a module has all its layers, before a checkpoint is loaded into them.

    Lightning sets callbacks up before the module, which may build layers in its ``setup`` or
    ``configure_model``.

    Returns:
        Undoes it; what was done stays.
    """
    configure = pl_module.configure_model

    def configure_model() -> None:
        configure()
        begin()

    was_set = "configure_model" in vars(pl_module)
    pl_module.configure_model = configure_model  # type: ignore[method-assign]

    def undo() -> None:
        del pl_module.configure_model
        if was_set:  # a strategy's, which shares the module out in it
            pl_module.configure_model = configure  # type: ignore[method-assign]

    return undo


def are_gradients_whole(trainer: Trainer) -> bool:
    """Whether gradients are of all ranks now; until its last batch DDP accumulates a rank's own."""
    return bool(getattr(trainer.model, "require_backward_grad_sync", True))


def check_gradients(trainer: Trainer, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
    """Refuse parameters without a gradient where DDP was not told of them, after a backward pass.

    DDP itself says so at the next forward pass only, and names no strategy of the command line.

    Raises:
        LtsftError: If there are any.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, DDPStrategy):
        return
    if strategy._ddp_kwargs.get("find_unused_parameters", False):
        return
    unused = [name for name, p in parameters if p.requires_grad and p.grad is None]
    if unused:
        raise LtsftError(
            "`trainer.strategy` is expected to be `ddp_find_unused_parameters_true` for a model "
            f"that does not use all its parameters, but {len(unused)} have no gradient "
            f"(`{unused[0]}`) under `ddp`; set it, or freeze them (`sparse.scope.frozen`)."
        )


def check_steps(pl_module: LightningModule, num_steps: int, has_moved: bool) -> None:
    """Refuse a module that trains without a step that Lightning counts, after a pass over the data.

    A phase ends by that count, and would never end.

    Args:
        pl_module: The module in training.
        num_steps: Steps of the phase that were counted.
        has_moved: Whether weights changed in it.

    Raises:
        LtsftError: If so.
    """
    if num_steps == 0 and has_moved and not pl_module.automatic_optimization:
        raise LtsftError(
            f"`training_step` of {type(pl_module).__name__} is expected to step what "
            "`self.optimizers()` returns, but the weights moved in a pass over the data and no "
            "step was counted, so that the phase would never end; call its `step()`, not that of "
            "the optimizer inside it, and change no weights by hand."
        )


def has_validation(trainer: Trainer) -> bool:
    """Whether a fit has anything to validate on; a data module may give no loader, or empty ones.

    Loaders that are not made yet are taken to have examples.
    """
    num_batches = trainer.num_val_batches if trainer.val_dataloaders is not None else [1]
    return trainer.enable_validation and sum(num_batches) > 0


def tell_samplers(trainer: Trainer, phase: str, number: int) -> None:
    """Tell samplers that ask for it which pass of which phase begins."""
    for loader in trainer.fit_loop._combined_loader.flattened:  # type: ignore[union-attr]
        sampler = getattr(loader, "batch_sampler", None)
        if sampler is not None and hasattr(sampler, "set_pass"):
            sampler.set_pass(phase, number)


class Schedules:
    """What learning-rate schedules were before training.

    A module may keep one and give the same object for each phase, spent by the one before.
    """

    def __init__(self) -> None:
        self._states: dict[Any, dict[str, Any]] = {}

    def remember(self, trainer: Trainer) -> None:
        """Keep the state of each schedule there is."""
        for config in trainer.strategy.lr_scheduler_configs:
            self._states[config.scheduler] = deepcopy(config.scheduler.state_dict())

    def begin_anew(self, trainer: Trainer) -> None:
        """Put back that of schedules that are the ones of then."""
        for config in trainer.strategy.lr_scheduler_configs:
            schedule: Any = config.scheduler
            if schedule in self._states:
                schedule.load_state_dict(deepcopy(self._states[schedule]))
                groups = schedule.optimizer.param_groups
                for group, rate in zip(groups, schedule.get_last_lr(), strict=True):
                    group["lr"] = rate


def forget_scores(trainer: Trainer) -> None:
    """Let no metric of one phase count in the next.

    A schedule that goes by a metric would compare with it; and the best checkpoint of all would be
    one of a dense phase, in which every weight moves.
    """
    trainer._logger_connector._callback_metrics.clear()
    # Otherwise ModelCheckpoint insists on its metric after a pass that ends without a validation.
    trainer.fit_loop.epoch_loop.val_loop._has_run = False
    for saver in trainer.checkpoint_callbacks:
        if isinstance(saver, ModelCheckpoint) and saver.monitor:
            saver.best_k_models, saver.best_model_score = {}, None
            saver.best_model_path = saver.kth_best_model_path = ""
            worst = "-inf" if saver.mode == "max" else "inf"
            saver.kth_value = torch.tensor(float(worst))


def advance_schedules(trainer: Trainer, num_steps: int) -> None:
    """Bring schedules that go by optimizer steps to where they are after so many.

    Raises:
        LtsftError: If one goes by a metric, whose past values nobody knows.
    """
    if num_steps and any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs):
        raise LtsftError(
            "`sparse.rewinding` is expected to be another than `ToStep` with a schedule that goes "
            "by a metric (ReduceLROnPlateau): where it was at a step cannot be told."
        )
    with warnings.catch_warnings():
        # "Detected call of `lr_scheduler.step()` before `optimizer.step()`": that is the point.
        warnings.simplefilter("ignore", UserWarning)
        for config in trainer.lr_scheduler_configs:
            if config.interval == "step":
                for _ in range(num_steps // config.frequency):
                    config.scheduler.step()  # type: ignore[call-arg]


def validates_next(trainer: Trainer) -> bool:
    """Whether Lightning will validate once the hooks after this batch are done."""
    fit = trainer.fit_loop
    assert fit._data_fetcher is not None
    return fit.epoch_loop._should_check_val_fx(fit._data_fetcher)


def validate(trainer: Trainer) -> Callable[[], None]:
    """Run the whole validation of a fit, as Lightning does after a batch, before it resumes.

    Where a validation is due at the step of a checkpoint, Lightning does not run it but sets its
    counters to its end, and draws random numbers for its loader on the way; both is done by then.

    Returns:
        Lets Lightning do so again.
    """
    loop = trainer.fit_loop.epoch_loop.val_loop
    loop.restarting = False  # a checkpoint's counts would make it take up an earlier one at its end
    trainer.validating = True
    loop.run()
    trainer.training = True
    loop.increment_progress_to_evaluation_end = lambda: None  # type: ignore[method-assign]
    return lambda: delattr(loop, "increment_progress_to_evaluation_end")


def close_pass(trainer: Trainer) -> None:
    """Count a pass as done that a checkpoint left open at the end of the dense phase.

    A checkpoint written by the phase's last validation lies inside a pass, but the run that was not
    stopped begins a new one for the sparse phase. No hook leads out of an open pass on resuming, so
    the loop's counters are set to what they are after one; those of batches, too, were written
    before the last one counted as done.
    """
    loop = trainer.fit_loop
    batches, passes = loop.epoch_loop.batch_progress, loop.epoch_progress
    batches.total.completed = batches.total.ready
    if num_passes(trainer) < passes.current.ready:
        loop.epoch_loop._batches_that_stepped += 1
    for progress in (loop.epoch_progress.total, loop.epoch_progress.current):
        progress.started = progress.ready  # type: ignore[attr-defined]
        progress.processed = progress.ready  # type: ignore[attr-defined]
        progress.completed = progress.ready
    loop.restarting = False
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()
    loop.epoch_loop.val_loop.reset_restart_stage()


def count_new_pass(trainer: Trainer) -> None:
    """Count the pass as begun that follows a checkpoint of the last batch of another.

    Lightning closes the one of the checkpoint, but goes on as in the middle of it. A checkpoint of
    the new pass would have a pass begun less than there were, and be taken for one between passes.
    """
    loop = trainer.fit_loop
    if (
        loop.restarted_mid_epoch
        and loop.epoch_loop.restarted_on_train_batch_end
        and loop.epoch_loop.batch_progress.is_last_batch
    ):
        loop.epoch_progress.increment_ready()
        loop.epoch_progress.increment_started()
        # Lightning begins a pass anew if it had as many batches as it has; one may end before.
        passed = loop.epoch_loop.batch_progress.current
        passed.completed = max(passed.completed, loop.max_batches)  # type: ignore[assignment]


def current_hook(trainer: Trainer) -> str | None:
    """Name of the hook that callbacks or the module are in, if they are in one."""
    return trainer.lightning_module._current_fx_name


def cluster_environment(trainer: Trainer) -> Any:
    """What a trainer knows of the cluster that it runs on."""
    return trainer._accelerator_connector.cluster_environment


def let_ranks_end(trainer: Trainer) -> None:
    """Wait until all ranks are here, and let each end by itself.

    What has started the others would kill this one at once when it sees that one has ended, in
    whatever it is doing still.
    """
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.procs.clear()  # those that it watches
    trainer.strategy.barrier()


def when_signals_are_registered(trainer: Trainer, then: Callable[[], None]) -> Callable[[], None]:
    """Do something right after Lightning registered its handlers of signals.

    Returns:
        Undoes it; what was done stays.
    """
    connector = trainer._signal_connector
    register = connector.register_signal_handlers

    def register_and_then() -> None:
        register()
        then()

    connector.register_signal_handlers = register_and_then  # type: ignore[method-assign]
    return lambda: delattr(connector, "register_signal_handlers")
