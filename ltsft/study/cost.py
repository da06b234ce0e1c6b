"""What the fits of a system took: entries, steps, time."""

import json
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from safetensors import safe_open

from ltsft.sparse.fine_tuning import SparseFineTuning
from ltsft.sparse.location import FILE_NAME
from ltsft.study.plan import STAMP


class Cost(NamedTuple):
    """Cost of a system's language fits and its task fit.

    Args:
        language_entries: Selected entries of a language.
        task_entries: Selected entries of the task.
        language_whole: Numbers in a language's whole tensors.
        task_whole: Numbers in the task's whole tensors.
        language_steps: Optimizer steps of a language fit, all phases; the mean over languages, as
            some may end early.
        task_steps: Optimizer steps of the task fit, all phases.
        languages_seconds: Seconds that all language fits took together.
        task_seconds: Seconds that the task fit took.
    """

    language_entries: int
    task_entries: int
    language_whole: int
    task_whole: int
    language_steps: float
    task_steps: int
    languages_seconds: float
    task_seconds: float


def cost_of(languages: list[str], task: str) -> Cost:
    """Read what fits took from their folders.

    Args:
        languages: Folders of the language fits; sizes are those of the first.
        task: Folder of the task fit.
    """
    language, of_task = (
        SparseFineTuning.load(Path(folder, "sft", FILE_NAME)) for folder in (languages[0], task)
    )
    return Cost(
        language.num_params,
        of_task.num_params,
        _num_whole(language),
        _num_whole(of_task),
        mean(map(_num_steps, languages)),
        _num_steps(task),
        sum(map(_seconds, languages)),
        _seconds(task),
    )


def _num_whole(sft: SparseFineTuning) -> int:
    return sum(tensor.numel() for tensor in sft.whole.values())


def _num_steps(folder: str) -> int:
    # From the header alone: the tensors of all languages may be gigabytes.
    with safe_open(Path(folder, "sft", FILE_NAME), "pt") as file:
        about = json.loads(file.metadata()["ltsft"])
    return sum(phase["steps"] for phase in about["sft"]["phases"].values())


def _seconds(folder: str) -> float:
    return float(json.loads(Path(folder, STAMP).read_text(encoding="utf-8"))["seconds"])
