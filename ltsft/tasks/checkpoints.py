"""Checkpoints of Lightning, which may be a stranger's: no class is ever built from their values."""

import inspect
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule

from ltsft.errors import LtsftError

TaskClass = TypeVar("TaskClass", bound=LightningModule)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, its tensors as they are used; no code in it runs.

    Raises:
        LtsftError: If it is no checkpoint of Lightning, or names a class to be built.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # Whatever a file of another kind makes torch stumble over.
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise LtsftError(
            f"`ckpt_path` is expected to be a checkpoint that `ltsft fit` wrote, but {str(path)!r} "
            f"cannot be read as one: {reason}"
        ) from error
    if not (isinstance(checkpoint, dict) and "pytorch-lightning_version" in checkpoint):
        raise LtsftError(
            f"`ckpt_path` is expected to be a checkpoint that `ltsft fit` wrote, but "
            f"{str(path)!r} is something else; a sparse fine-tuning (`sft.safetensors`) goes into "
            "`model.init_args.base_sfts`."
        )
    # Parsers of configs take such a mapping, wherever it is, for a class to import and call.
    for place, keys in _mappings(checkpoint.get("hyper_parameters", {}), "hyper_parameters"):
        if "class_path" in keys:
            raise LtsftError(
                f"`ckpt_path` is expected to be a checkpoint of plain options, but `{place}` in "
                f"{str(path)!r} names a class to be built (`class_path`); do not use it, or take "
                "that out if you made it."
            )
    return checkpoint


def _mappings(value: Any, place: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    if isinstance(value, Mapping):
        yield place, value
        for key, item in value.items():
            yield from _mappings(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _mappings(item, f"{place}.{number}")


def load_task(
    cls: type[TaskClass],
    path: str | Path,
    map_location: Any = None,
    strict: bool | None = None,
    **options: Any,
) -> TaskClass:
    """Build a task with the options of a checkpoint, and load its weights.

    Lightning has a parser of configs build it, which makes classes of values.

    Args:
        cls: The task's class, or one above it, if the checkpoint says which.
        path: The checkpoint.
        map_location: Device for the module; ``None``: the CPU.
        strict: Whether all weights have to be there; ``None``: as the module says.
        **options: Options of the constructor that are to be others than the checkpoint's.

    Raises:
        LtsftError: If it is no checkpoint of such a task.
    """
    checkpoint = read_checkpoint(path)
    saved = dict(checkpoint.get("hyper_parameters", {}))
    saved.pop("_instantiator", None)
    name = saved.pop("_class_path", "")
    if name or inspect.isabstract(cls):
        cls = task_class(name, cls)
    module = cls(**saved | options)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(
        checkpoint["state_dict"], strict=module.strict_loading if strict is None else strict
    )
    return module.to(map_location or "cpu")


def task_class(path: str, base: type[TaskClass]) -> type[TaskClass]:
    """Find a task among those imported; a checkpoint from anywhere must not import things.

    Args:
        path: Its dotted name.
        base: It, or a class above it.

    Raises:
        LtsftError: If there is none of that name.
    """
    module, _, name = path.rpartition(".")
    classes = [base]
    for cls in classes:  # grows as we go
        # The path may be a shorter one, through a package's `__init__`.
        if cls.__name__ == name and f"{cls.__module__}.".startswith(f"{module}."):
            return cls
        classes += cls.__subclasses__()
    raise LtsftError(
        f"the checkpoint is expected to be of a known task, but is of {path!r}; name the class too "
        f"(`--model {path or 'CLASS'}`), or make the checkpoint with `ltsft fit`."
    )
