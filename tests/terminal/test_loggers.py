"""Loggers by one word, and what their constructors refuse."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

from ltsft.terminal.csv_log import CsvLog
from ltsft.terminal.loggers import csv_log, with_save_dir
from ltsft.terminal.sft_cli import SftCLI

NAMES = ["TensorBoardLogger", "WandbLogger", "MLFlowLogger", "CSVLogger"]


@pytest.mark.parametrize("name", NAMES)
def test_they_write_where_the_fit_does(name):
    args = ["fit", "--trainer.default_root_dir", "runs/x", "--trainer.logger", name, "--x", "1"]
    assert with_save_dir(args) == [
        *args[:5],
        *["--trainer.logger.save_dir", "runs/x"],
        *args[5:],
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["fit"],
        ["fit", "--trainer.logger", "false"],
        ["fit", "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir=logs"],
        ["fit", "--trainer.logger", "my.own.Logger"],
        ["fit", "--trainer.logger"],
    ],
)
def test_what_is_said_is_left_as_it_is(args):
    assert with_save_dir(args) == args


def test_a_log_of_our_own():
    assert Path(csv_log("runs/x").log_dir) == Path("runs/x")
    assert csv_log(None).log_dir == str(Path.cwd() / "runs" / "version_0")


def test_the_fine_tuning_is_in_the_root_folder_with_any_logger(trained, ltsft):
    """Whatever folder the logger makes for itself."""
    command = ["fit", "--model", "MaskedLM", "--model.base_model", trained.base, "--data"]
    command += ["TextData", "--data.max_length", "12", "--data.text", trained.text]
    command += ["--sparse.budget.density", "0.1", "--sparse.dense.max_steps", "1"]
    command += ["--sparse.sparse.max_steps", "1", "--trainer.default_root_dir", "out"]
    ltsft(*command, "--trainer.logger", "CSVLogger")
    assert Path("out/sft/sft.safetensors").is_file()
    assert Path("out/lightning_logs/version_0/metrics.csv").is_file()
    logger = SftCLI([*command, "--trainer.logger", "CSVLogger"], run=False).trainer.logger
    assert type(logger) is CSVLogger
    assert type(SftCLI(command, run=False).trainer.logger) is CsvLog
