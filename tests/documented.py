"""Commands as configs and README show them, with small stand-ins for what they name."""

import shlex
from dataclasses import replace
from pathlib import Path

from ltsft.sparse import SparseFineTuning
from ltsft.terminal.sft_cli import SftCLI
from tests.trained import Trained

ROOT = Path(__file__).parents[1]


def compose(command: str, trained: Trained) -> SftCLI:
    """Build model, data and trainer of ``ltsft fit …`` or ``ltsft test …``, and run nothing.

    The base model is the tiny one and fine-tunings are those trained on it; all else is as
    documented. Configs are looked for where ``configs`` is in the current folder.
    """
    _, name, *args = shlex.split(command)
    args += ["--model.base_model", trained.base]
    if "configs/trainer/" in command:  # there may be no GPU here
        args += ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    if name == "test" and "ner.yaml" in command:  # none of those trained has entities as labels
        args += ["--model.base_sfts", "[]", "--data.labels", "[O, B-PER, I-PER]"]
    elif any(arg.partition("=")[0].endswith("base_sfts") for arg in args):
        sft = trained.languages["aa"] if name == "fit" else _of_its_task(command, trained)
        args += ["--model.base_sfts", f"[{sft}]"]
    return SftCLI([name, *args], run=False)


def _of_its_task(command: str, trained: Trained) -> str:
    """The tagger's fine-tuning, or what is said to be one of the task that a command is for."""
    for task in ("dp", "nli", "qa"):
        if f"task/{task}.yaml" in command:
            sft = SparseFineTuning.from_pretrained(trained.task).without_whole()
            replace(sft, metadata=replace(sft.metadata, task=task)).save_pretrained(task)
            return task
    return trained.task


def callbacks(cli: SftCLI) -> list[str]:
    """Names of the trainer's callbacks."""
    return [type(callback).__name__ for callback in cli.trainer.callbacks]


def link_runs(trained: Trained) -> None:
    """Make the folders ``configs`` and ``runs`` that documents name, with small stand-ins."""
    Path("configs").symlink_to(ROOT / "configs")
    Path("runs").mkdir()
    for name, stand_in in {"en": "aa", "hsb": "bb", "mt": "aa", "myv": "bb"}.items():
        Path("runs", name).symlink_to(trained.languages[stand_in])
    Path("runs/pos-en").symlink_to(trained.task)
