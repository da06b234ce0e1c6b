"""What the progress bar shows."""

from ltsft.callbacks import PhaseProgressBar
from tests.callbacks.plain import Plain, callback, data, trainer


def test_the_bar_names_the_phase():
    shown = []

    class Watch(PhaseProgressBar):
        def get_metrics(self, trainer, pl_module):
            metrics = super().get_metrics(trainer, pl_module)
            shown.append(metrics.get("phase"))
            return metrics

    trainer(callback(), Watch(), enable_progress_bar=True).fit(Plain(), data())
    assert "dense 12/12" in shown
    assert "sparse 15/15" in shown
