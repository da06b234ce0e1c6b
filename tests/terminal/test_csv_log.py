"""What a fit leaves in its folder is not lost by the next one there."""

import csv
import json
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

from ltsft.terminal.csv_log import CsvLog
from tests.trained import QUICK, TAGGER


def rows(path="out/metrics.csv"):
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def log(kept, *metrics):
    logger = CsvLog(".", name="", version="out")
    logger.num_steps_kept = kept
    for step, values in metrics:
        logger.log_metrics(values, step)
    logger.save()
    return logger


def test_a_first_part_is_that_of_lightnings_own_logger():
    metrics = [(0, {"a": 1.0}), (1, {"b": 2.0})]
    theirs = CSVLogger(".", name="", version="theirs")
    for step, values in metrics:
        theirs.log_metrics(values, step)
    theirs.save()
    log(0, *metrics)
    assert rows() == rows("theirs/metrics.csv")


def test_going_on_keeps_earlier_steps_and_takes_further_columns():
    """Of a part that was cut off after its checkpoint, the later rows are made anew."""
    log(0, *((step, {"a": float(step)}) for step in range(4)))
    log(2, (2, {"a": 20.0}), (3, {"a": 30.0, "b": 1.0}))
    assert rows() == [
        {"a": "0.0", "step": "0"},
        {"a": "1.0", "step": "1"},
        {"a": "20.0", "step": "2"},
        {"a": "30.0", "b": "1.0", "step": "3"},
    ]


def test_a_fit_from_the_start_begins_a_new_file_once_it_has_something_to_write():
    log(0, (0, {"a": 1.0}))
    before = Path("out/metrics.csv").read_bytes()
    log(0).finalize("failed")
    assert Path("out/metrics.csv").read_bytes() == before
    log(0, (0, {"b": 2.0}))
    assert rows() == [{"b": "2.0", "step": "0"}]


def test_on_the_command_line(trained, ltsft):
    """Gone on with in its folder, a fit has the metrics of one that was not stopped.

    A fit that fails before it trains leaves all that is there as it was.
    """
    data = json.dumps({"aa": trained.treebank})
    common = ["fit", *TAGGER, "--model.base_model", trained.base, "--data.validation", data]
    common += [*QUICK, "--sparse.dense.max_steps", "3", "--trainer.log_every_n_steps", "1"]
    common += ["--trainer.default_root_dir", "out"]
    keeper = {"every_n_train_steps": 2, "save_top_k": -1, "filename": "{step}"}
    keeper = [{"class_path": "ModelCheckpoint", "init_args": keeper}]
    ltsft(*common, "--data.train", data, "--trainer.callbacks", json.dumps(keeper))
    whole = rows()
    assert [row["step"] for row in whole if "train_loss" in row] == ["0", "1", "2", "3", "4"]

    checkpoint = "out/checkpoints/step=2.ckpt"
    ltsft(*common, "--data.train", data, "--ckpt_path", checkpoint)
    resumed = rows()
    for row in [*whole, *resumed]:
        del row["epoch"]  # a validation made up for at the end of a pass counts to the next
    assert resumed == whole

    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert {"fit.yaml", "hparams.yaml", "metrics.csv"} <= {path.name for path in before}
    ltsft(*common, "--data.train", "null", status=2)
    assert {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()} == before
