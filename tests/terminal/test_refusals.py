"""What the constructors of loggers, callbacks and the Trainer refuse is one line."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.trained import TAGGER


@pytest.fixture
def fit(trained):
    data = f"{{aa: {trained.treebank}}}"
    return [
        *["fit", *TAGGER, "--model.base_model", trained.base, "--sparse.budget.density", "0.1"],
        *["--data.train", data, "--data.validation", data, "--trainer.default_root_dir", "out"],
        *["--sparse.dense.max_steps", "1", "--sparse.sparse.max_steps", "1"],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.save_top_k", "3"],
            "`trainer.callbacks` .* options that ModelCheckpoint takes, .* No quantity for top_k",
        ),
        (
            ["--trainer.devices", "3,4", "--trainer.accelerator", "cpu"],
            r"`trainer` .* but of accelerator=cpu, devices=3,4, .* should be an int > 0\.$",
        ),
        (["--trainer.accelerator", "tpu"], "`trainer` .* of accelerator=tpu.*torch_xla"),
        (["--sparse.budget", "0.05"], "`sparse.budget` is .* set by its options .*but got 0.05"),
        (["--sparse.dense", "3"], "`sparse.dense` is .* by its options .*max_steps.* but got 3"),
        (["--sparse.budget.densty", "1"], "did you mean `sparse.budget.density`"),
    ],
)
def test_a_refusal_is_one_line(fit, ltsft, options, message):
    (line,) = ltsft(*fit, *options, status=2).err
    assert re.search(message, line), line
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("logger", "package"),
    [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow"), ("TensorBoardLogger", "tensorboard")],
)
def test_a_package_that_is_missing_is_named(fit, ltsft, logger, package):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    (line,) = ltsft(*fit, "--trainer.logger", logger, status=2).err
    assert "`trainer.logger` is expected to be something whose package is installed" in line
    assert logger in line
    assert f"pip install -U '{package}" in line or "pip install`ing either" in line


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.callbacks", "Timer", "--trainer.callbacks.duration", "00:01:00:00"],
        ["--config", "empty.yaml"],
    ],
)
def test_what_is_right_is_not_refused(fit, ltsft, options):
    """A Timer has a default that is no plain value; `base_sfts:` without a value is none."""
    Path("empty.yaml").write_text("model:\n  init_args:\n    base_sfts:\n")
    ltsft(*fit, *options)
    assert Path("out/sft/sft.safetensors").is_file()
