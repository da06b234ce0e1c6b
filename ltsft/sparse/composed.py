"""Fine-tunings of one task and of languages, composed to one; and which of their heads counts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ltsft.errors import LtsftError
from ltsft.sparse import composition
from ltsft.sparse.fine_tuning import SparseFineTuning


def compose_sft(
    sfts: dict[str, SparseFineTuning],
    method: str = "sum",
    weights: Sequence[float] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> SparseFineTuning:
    """Compose fine-tunings to one, which can be used wherever one is.

    A sum differs in the last bits from one put in place after the other.

    Args:
        sfts: Fine-tunings by the name they are reported under: one of a task and any number of
            languages', or languages' alone. The whole tensors of the task's are kept, or of one
            language's alone; those of languages beside others are left out.
        method: A key of :data:`ltsft.sparse.composition.METHODS`.
        weights: A factor for each fine-tuning's differences; ``None``: 1 for all.
        settings: Further arguments of the method.

    Returns:
        The composed fine-tuning, said to be for the task of which it has the head.

    Raises:
        LtsftError: If the fine-tunings do not fit each other, or one has adapters.
    """
    for name, sft in sfts.items():
        if sft.metadata.slots:
            raise LtsftError(
                "`--sft` is expected to name SFTs without adapters, which are no differences that "
                f"can be composed, but {name} fills the slot {', '.join(sft.metadata.slots)}; use "
                "them beside each other in `base_sfts`."
            )
    languages_alone = all(sft.metadata.head == "language" for sft in sfts.values())
    task = None if languages_alone and len(sfts) > 1 else task_sft(sfts)
    composed = composition.METHODS[method](with_head_of(task, sfts), weights, **settings or {})
    if task is None:
        return composed
    return replace(composed, metadata=replace(composed.metadata, task=sfts[task].metadata.task))


def with_head_of(task: str | None, sfts: dict[str, SparseFineTuning]) -> list[SparseFineTuning]:
    """The fine-tunings, of which only one has its whole tensors still."""
    return [sft if name == task else sft.without_whole() for name, sft in sfts.items()]


def task_sft(sfts: dict[str, SparseFineTuning]) -> str:
    """Name of the one fine-tuning whose head is put in place."""
    tasks = [name for name, sft in sfts.items() if sft.metadata.head != "language"]
    if not tasks and len(sfts) == 1:
        tasks = list(sfts)
    if len(tasks) != 1:
        raise LtsftError(
            "`--sft` is expected to name one SFT of a task and any number of languages', or one "
            f"language's alone, but {len(tasks)} of {', '.join(sfts)} are of a task"
            + ("; languages alone go together with `--as-sft`." if not tasks else ".")
        )
    return tasks[0]
