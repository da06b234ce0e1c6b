"""What a fit is going to do, in a few lines, before it does it."""

from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer

from ltsft.callbacks.fit import Fit
from ltsft.callbacks.trainer_loops import is_quick_run
from ltsft.sparse.location import FILE_NAME


def summarise(fit: Fit, trainer: Trainer) -> Iterator[str]:
    """Say what is trained on what, how long, and what chooses the best weights.

    Args:
        fit: The fit, once its phases have lengths.
        trainer: Its trainer; a data module may describe its data (``describe(stage)``).
    """
    describe = getattr(getattr(trainer, "datamodule", None), "describe", None)
    if describe is not None:
        yield f"Data: {describe('fit')}."
    yield f"Parameters that are {fit.scope.describe(fit.root)}."
    num_maskable = fit.ticket.candidates().num_maskable()
    if fit.num_params:
        share = fit.num_params / num_maskable
        yield f"K: {fit.num_params:,} of {num_maskable:,} maskable entries ({share:.2%})."
    yield f"Phases: {fit.program}."
    lengths = dict.fromkeys(leg.phase for leg in fit.program)
    steps = ", ".join(f"{phase} {fit.clock.lengths[phase]:,}" for phase in lengths)
    passes = trainer.fit_loop.max_batches / trainer.accumulate_grad_batches
    a_pass = f"; a pass over the data is {passes:,.0f}" if passes < float("inf") else ""
    rounds = f", {fit.program.rounds.num} times" if fit.program.rounds.num > 1 else ""
    yield f"Optimizer steps: {steps}{rounds}{a_pass}."
    monitor = fit.keeper.monitor
    best = "highest" if monitor.mode == "max" else "lowest"
    chosen = f"those of the {best} {monitor.name}" if fit.keeper.keeps else "the last ones"
    yield f"Weights kept of each phase: {chosen}."


def where_to(folder: Path, trainer: Trainer) -> str:
    """Say where the fine-tuning goes.

    Args:
        folder: Where it is written.
        trainer: The fit's.
    """
    if is_quick_run(trainer):
        return "Nothing will be written, as it is a `fast_dev_run`."
    is_there = (folder / FILE_NAME).exists()
    return f"To be written: {folder}{', beside the one that is there' if is_there else ''}."
