"""Phase and learning rate beside whatever is logged."""

import csv

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from ltsft.callbacks import Phase
from ltsft.sparse import Growing
from tests.callbacks.plain import Plain, callback, data, trainer


class Logging(Plain):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss)
        return loss


class Memory(DummyLogger):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    @property
    def save_dir(self):
        return "memory"


def run(logger, **settings):
    trainer(callback(**settings), logger=logger, log_every_n_steps=1).fit(
        Logging(), data(), data(seed=2)
    )


def test_every_row_of_a_csv_file_has_both():
    """Rates fall linearly from 0.05 in each phase, as the module's schedule has them."""
    run(CSVLogger("logs"))
    with open("logs/lightning_logs/version_0/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [row for row in rows if row["train_loss"]]
    assert [row["phase"] for row in steps] == ["dense"] * 12 + ["sparse"] * 15
    rates = [float(row["lr"]) for row in steps]
    assert rates[0] == 0.05 * (1 - 1 / 12)  # as it is after the step that is logged
    assert rates[12] == 0.05 * (1 - 1 / 15)
    scores = [row for row in rows if row["val_loss"]]
    assert all(row["phase"] and row["lr"] for row in scores)
    assert scores[-1]["phase"] == "sparse"


def test_elsewhere_the_phases_have_curves_of_their_own():
    logger = Memory()
    run(logger)
    names = {name for _, row in logger.rows for name in row}
    assert names == {
        "epoch",
        *(f"{phase}/{name}" for phase in ("dense", "sparse") for name in ("train_loss", "lr")),
        *("dense/val_loss", "sparse/val_loss"),
    }
    assert "log_metrics" not in vars(logger)  # as it was before


def test_rounds_are_told_apart():
    logger = Memory()
    run(logger, rounds=Growing(2), dense=Phase(max_steps=2), sparse=Phase(max_steps=2))
    names = {name for _, row in logger.rows for name in row if name.endswith("train_loss")}
    assert names == {f"{p}/train_loss" for p in ("dense", "sparse", "dense 2", "sparse 2")}
