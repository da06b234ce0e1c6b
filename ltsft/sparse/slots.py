"""Slots: places in a model that whole tensors of a fine-tuning fill, such as adapters.

A model with slots has an attribute ``adapter_slots``, slot name -> description, made of JSON
values. A fine-tuning that fills one carries the same description in its metadata.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse.delta import Parts


def check_slots(model: nn.Module, sft: Parts) -> None:
    """Refuse a model that cannot hold a fine-tuning's adapters as they were in training.

    Raises:
        LtsftError: If a slot is missing, or differs in anything.
    """
    mend = (
        "give the `model.init_args.adapters` of its training (see `ltsft inspect`), of MAD-X by "
        "`--config ltsft:system/madx_task`"
    )
    has: dict[str, dict[str, Any]] = getattr(model, "adapter_slots", {})
    for slot, expected in sft.metadata.slots.items():
        if slot not in has:
            raise LtsftError(
                f"{sft!r} is expected to be applied to a model with an adapter slot `{slot}`, but "
                f"{type(model).__name__} has none; {mend}. Adapters cannot be added into a plain "
                "model's weights."
            )
        wanted, there = _flat(expected), _flat(has[slot])
        for key in {**wanted, **there}:
            if wanted.get(key) != there.get(key):
                raise LtsftError(
                    f"{sft!r} is expected to be applied to a model whose adapter slot `{slot}` has "
                    f"`{key}` {wanted.get(key)} as in training, but it is {there.get(key)}; {mend}."
                )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
