"""What a checkpoint says about its model, and whether options agree with it."""

import importlib
from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from ltsft.callbacks.checkpoint_moment import check_moment
from ltsft.errors import LtsftError
from ltsft.tasks.checkpoints import read_checkpoint
from ltsft.terminal.early import check_checkpoint


def hyperparameters(path: str) -> dict[str, Any]:
    """The options that a checkpoint's model was built with.

    Raises:
        LtsftError: If it is no checkpoint of Lightning, names a class to be built, or was written
            in the middle of something.
    """
    check_checkpoint(path)
    checkpoint = read_checkpoint(path)
    check_moment(checkpoint)
    saved: dict[str, Any] = checkpoint.get("hyper_parameters", {})
    return saved


def check_same_start(options: Namespace, saved: Mapping[str, Any]) -> None:
    """Refuse to go on over other fine-tunings than the fit began with.

    Its weights have those in them, and its result would be noted as trained over the others.

    Args:
        options: Class path and arguments of the model, as parsed.
        saved: What :func:`hyperparameters` returned.

    Raises:
        LtsftError: If they are others.
    """
    if options.class_path != saved.get("_class_path", options.class_path):
        return  # that is told when the weights are loaded
    before, now = (values.get("base_sfts") or [] for values in (saved, options.init_args))
    before, now = ([value] if isinstance(value, str) else list(value) for value in (before, now))
    if "base_sfts" in saved and before != now:
        raise LtsftError(
            f"`model.init_args.base_sfts` is expected to be what the fit to go on with began with, "
            f"[{', '.join(before)}], but got [{', '.join(now)}]."
        )


def check_agreement(options: Namespace, saved: Mapping[str, Any]) -> None:
    """Refuse options of the model that are neither default nor what the checkpoint says.

    `base_model` may differ, since it also says where the tokenizer is.

    Args:
        options: Class path and arguments of the model, as parsed.
        saved: What :func:`hyperparameters` returned.

    Raises:
        LtsftError: If one is another.
    """
    if options.class_path != saved.get("_class_path", options.class_path):
        raise LtsftError(
            f"`model` is expected to be the checkpoint's {saved['_class_path']}, but got "
            f"{options.class_path}; leave it out."
        )
    defaults = _defaults(options.class_path)
    for key, value in options.init_args.as_dict().items():
        if key not in saved or key == "base_model" or value in (defaults.get(key), saved[key]):
            continue
        raise LtsftError(
            f"`model.init_args.{key}` is expected to be what the checkpoint was made with, "
            f"{saved[key]!r}, but got {value!r}; leave it out."
        )


def _defaults(class_path: str) -> dict[str, Any]:
    """Default arguments of a class, its bases' included."""
    module, _, name = class_path.rpartition(".")
    parser = ArgumentParser()
    parser.add_class_arguments(getattr(importlib.import_module(module), name), "model")
    defaults: dict[str, Any] = parser.get_defaults().model.as_dict()
    return defaults
