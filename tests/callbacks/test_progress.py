"""What the progress bar shows, and what a log that is no terminal gets."""

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from ltsft.callbacks import PhaseProgressBar, progress
from tests.callbacks.plain import Plain, callback, data, trainer


class Watch(PhaseProgressBar):
    """Notes what it shows, as on a terminal."""

    def __init__(self):
        super().__init__()
        self._is_live = True
        self.shown = []
        self.bars = []

    def get_metrics(self, trainer, pl_module):
        metrics = super().get_metrics(trainer, pl_module)
        self.shown.append((metrics.get("phase"), metrics.get("left")))
        return metrics

    def on_train_batch_end(self, *args):
        super().on_train_batch_end(*args)
        bar = self.train_progress_bar
        self.bars.append((bar.desc, bar.n, bar.total))


def test_one_bar_over_each_phase():
    """Not over passes, of which a phase of 12 steps has more than one."""
    bar = Watch()
    trainer(callback(), bar, enable_progress_bar=True).fit(Plain(), data())
    assert bar.bars == [
        *(("dense: ", step, 12) for step in range(1, 13)),
        *(("sparse: ", step, 15) for step in range(1, 16)),
    ]
    phases = [phase for phase, _ in bar.shown]
    assert "dense 12/12" in phases
    assert "sparse 15/15" in phases
    assert bar.shown[-1][1] == "0:00:00"
    assert bar.clock is None  # of a fit that is over


def test_the_time_left_is_that_of_the_whole_fit(monkeypatch):
    """A second a step: after 3 of 12 + 15 steps 24 are left."""
    now = iter(range(1000))
    monkeypatch.setattr("ltsft.callbacks.time_left.time.monotonic", lambda: float(next(now)))
    bar = Watch()
    trainer(callback(), bar, enable_progress_bar=True).fit(Plain(), data())
    lefts = dict(bar.shown)
    assert lefts["dense 3/12"] == "0:00:24"


@pytest.mark.parametrize("default", [TQDMProgressBar, RichProgressBar])
def test_the_callback_brings_it_in_place_of_the_default(default):
    run = trainer(callback(), default(), enable_progress_bar=True)
    run.fit(Plain(), data())
    assert type(run.progress_bar_callback) is PhaseProgressBar


def test_a_bar_of_ones_own_stays():
    class Own(TQDMProgressBar):
        pass

    for bar in (Own(), TQDMProgressBar(refresh_rate=7)):
        run = trainer(callback(), bar, enable_progress_bar=True)
        run.fit(Plain(), data())
        assert run.progress_bar_callback is bar


def test_a_log_gets_lines_and_no_carriage_returns(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    trainer(callback(), enable_progress_bar=True).fit(Plain(), data(), data(seed=2))
    out = capsys.readouterr().out
    assert "\r" not in out
    lines = [line for line in out.splitlines() if line.startswith(("dense", "sparse"))]
    assert len(lines) == 12 + 15
    assert lines[2].startswith("dense 3/12, 0:00:")
    assert " left, " in lines[2]


@pytest.mark.parametrize("num_loaders", [1, 2])
@pytest.mark.parametrize("what", ["test", "predict"])
def test_a_log_says_how_far_an_evaluation_is(what, num_loaders, monkeypatch, capsys):
    """Over all loaders."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)

    class Scored(Plain):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("test_loss", self.training_step(batch, batch_idx))

        def predict_step(self, batch, batch_idx, dataloader_idx=0):
            return batch_idx

    run = trainer(PhaseProgressBar(), enable_progress_bar=True)
    getattr(run, what)(Scored(), [data(seed=seed) for seed in range(num_loaders)])
    out = capsys.readouterr().out
    assert "\r" not in out
    lines = [line for line in out.splitlines() if line.startswith(f"{what}ing ")]
    total = num_loaders * len(data())
    assert lines == [f"{what}ing {n}/{total} batches" for n in range(1, total + 1)]


def test_without_the_callback_it_is_lightnings():
    bar = PhaseProgressBar()
    run = trainer(bar, enable_progress_bar=True, max_epochs=1)
    run.fit(Plain(), data())
    assert bar.clock is None
