"""One progress bar that names the phase."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from typing_extensions import override

from ltsft.callbacks.sparse_mask import SparseMaskCallback


class PhaseProgressBar(TQDMProgressBar):
    """Lightning's bar with the phase and its steps in front, e.g. ``phase=dense 120/400``."""

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        phases = [c for c in _callbacks(trainer) if isinstance(c, SparseMaskCallback)]
        if phases and trainer.training:
            return {"phase": phases[0].position(trainer), **metrics}
        return metrics


def _callbacks(trainer: Trainer) -> list[Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]
