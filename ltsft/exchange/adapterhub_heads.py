"""Heads that the `adapters` library wrote beside a task's adapter."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.exchange.torch_file import to_float32

_FLEXIBLE = re.compile(r"heads\.(?P<name>[^.]+)\.\d+\.(?P<kind>weight|bias)")
_STATIC = re.compile(r"(?P<layer>classifier|qa_outputs)\.(?P<kind>weight|bias)")
_LAYERS = {"tagging": "classifier", "question_answering": "qa_outputs"}
"""Type of a flexible head -> what the layer is called in the model of transformers that has it."""


class Head(NamedTuple):
    """A head of one linear layer.

    Args:
        tensors: `weight` [labels, h] and `bias` [labels], by their names in a model.
        labels: Label names in the order of its outputs, if it says them.
        task: What it is for: ``ner``, ``pos`` or ``qa``.
    """

    tensors: dict[str, Tensor]
    labels: list[str] | None
    task: str


def read_head(about: Mapping[str, Any], tensors: Mapping[str, Tensor], hidden_size: int) -> Head:
    """Read the head of a task.

    Args:
        about: ``head_config.json``.
        tensors: Its tensors, by their names in the file.
        hidden_size: h.

    Raises:
        LtsftError: If it is another head than one linear layer for tags or questions, which no
            model of transformers has in that shape.
    """
    config = about.get("config")
    config = config if isinstance(config, dict) else {}
    kind = config.get("head_type")
    matches = {key: _FLEXIBLE.fullmatch(key) or _STATIC.fullmatch(key) for key in tensors}
    layer = _LAYERS.get(str(kind)) or next(
        (m["layer"] for m in matches.values() if m and "layer" in m.groupdict()), None
    )
    if layer is None or not all(matches.values()) or len(tensors) != 2:
        raise LtsftError(
            "its head is expected to be one linear layer for tags or questions, but is of type "
            f"{kind!r:.80} with {', '.join(sorted(tensors)) or 'no tensors':.200}; read the "
            "adapter without it (`head=False`), and train a head of your own."
        )
    found = {
        f"{layer}.{m['kind']}": to_float32(key, tensors[key]) for key, m in matches.items() if m
    }
    bias = found.get(f"{layer}.bias")
    num_labels = len(bias) if bias is not None and bias.dim() else 0
    shapes = {f"{layer}.weight": (num_labels, hidden_size), f"{layer}.bias": (num_labels,)}
    if {name: tuple(tensor.shape) for name, tensor in found.items()} != shapes:
        has = ", ".join(f"{key} {tuple(t.shape)}" for key, t in sorted(tensors.items()))
        raise LtsftError(
            f"its head is expected to have a weight [labels, {hidden_size}] and a bias [labels], "
            f"but has {has:.300}."
        )
    labels = _labels(config.get("label2id") or about.get("label2id"), num_labels)
    if layer == "qa_outputs":
        return Head(found, None, "qa")
    is_ner = labels is not None and any(label[:2] in ("B-", "I-") for label in labels)
    return Head(found, labels, "ner" if is_ner else "pos")


def _labels(numbers: Any, num_labels: int) -> list[str] | None:
    if numbers is None:
        return None
    values: list[Any] = list(numbers.values()) if isinstance(numbers, dict) else [None]
    are_whole = all(type(value) is int for value in values)
    if not are_whole or sorted(values) != list(range(num_labels)):
        raise LtsftError(
            f"`label2id` of its head is expected to number {num_labels} labels from 0, but got "
            f"{numbers!r:.80}."
        )
    return sorted(map(str, numbers), key=numbers.__getitem__)
