"""Metrics of a fit in ``metrics.csv``, in one file however often the fit is gone on with."""

import csv
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

from ltsft.atomic import set_aside


class CsvLog(CSVLogger):
    """Lightning's CSV logger, which writes nothing before there is something to write.

    Lightning's own deletes an older ``metrics.csv`` when it is made: of the part before a resume,
    and of a finished fit, if the next one in its folder fails before it trains.
    """

    num_steps_kept = 0
    """Rows of an older file that are of earlier steps stay: the fit goes on from there."""

    @property
    @rank_zero_experiment
    @override
    def experiment(self) -> ExperimentWriter:
        if not isinstance(self._experiment, _Writer):
            os.makedirs(self.root_dir, exist_ok=True)
            self._experiment = _Writer(self)
        return self._experiment


class GoOn(Callback):
    """Tells the log how many steps of an earlier part the fit goes on from."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, CsvLog):
                logger.num_steps_kept = trainer.global_step


class SaveConfigAtStart(SaveConfigCallback):
    """Saves the config of a fit when training starts; another one that is there keeps its content.

    It is called ``fit-1.yaml`` from then on, or by the next number.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            super().setup(trainer, pl_module, stage)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.config = self.config.clone()
        self.config.ckpt_path = None  # it repeats the fit, from its beginning
        path = Path(str(trainer.log_dir), self.config_filename)
        if trainer.is_global_zero and path.is_file() and self._is_another(path):
            rank_zero_info(f"The config of an earlier fit is kept as {set_aside(path)}.")
        super().setup(trainer, pl_module, "fit")

    def _is_another(self, path: Path) -> bool:
        said = self.parser.dump(self.config, skip_none=False)
        return path.read_text(encoding="utf-8").strip() != said.strip()


class _Writer(ExperimentWriter):
    def __init__(self, log: CsvLog) -> None:
        self._log = log
        self._is_first = True
        super().__init__(log.log_dir)

    @override
    def _check_log_dir_exists(self) -> None:
        """Leave what is there."""

    @override
    def log_hparams(self, params: dict[str, Any]) -> None:
        self.hparams.update(params)  # written with the first metrics

    @override
    def save(self) -> None:
        if self.metrics and self._is_first:
            self._is_first = False
            self._take_up()
            if self.hparams:
                super().log_hparams({})
        super().save()

    def _take_up(self) -> None:
        """Keep the rows of an older file that the fit goes on from."""
        if not os.path.isfile(self.metrics_file_path):
            return
        # A validation that was due at a checkpoint has the step before it, and is made again.
        anew = {(row["step"], frozenset(row)) for row in self.metrics}
        with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
            rows = [
                row
                for row in csv.DictReader(file)
                if (step := int(row["step"])) < self._log.num_steps_kept
                and (step, frozenset(key for key, value in row.items() if value)) not in anew
            ]
        if self._log.num_steps_kept:
            os.remove(self.metrics_file_path)
        else:
            set_aside(Path(self.metrics_file_path))
        if rows:
            self.metrics_keys = list(rows[0])
            with open(self.metrics_file_path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
                writer.writeheader()
                writer.writerows(rows)
