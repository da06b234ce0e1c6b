"""Where in a model a fine-tuning's tensors belong, and whether it fits there."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.sparse.delta import Parts
from ltsft.sparse.names import named_buffers, named_parameters
from ltsft.sparse.same import same_bits
from ltsft.sparse.scope import tied_names
from ltsft.sparse.shard import is_sharded
from ltsft.sparse.shared_memory import overlaps_itself, sharing


class Places(NamedTuple):
    """The tensors of a model that a fine-tuning is about, by their names in it.

    Args:
        entries: Where selected entries are.
        heads: What is put in place whole.
    """

    entries: dict[str, Tensor]
    heads: dict[str, Tensor]

    @classmethod
    def of(cls, sft: Parts, model: nn.Module, whole: bool | None) -> "Places":
        """Look them up.

        Args:
            sft: The fine-tuning.
            model: The model as it is now.
            whole: See :meth:`SparseFineTuning.apply`.

        Raises:
            LtsftError: If one is missing, of another shape or kind, or there under two names.
        """
        inside = [name for name in sft.whole if _is_inside(name, model)]
        entries = find(model, list(sft.entries), sft)
        heads = _once(find(model, inside, sft) | _find_heads(model, sft, whole), sft)
        for name, delta in sft.entries.items():
            _check_shape(name, tuple(delta.shape), entries[name])
            _check_writable(name, entries[name])
            if not entries[name].is_floating_point() or entries[name].itemsize == 1:
                raise LtsftError(
                    f"`{name}` is expected to hold floating-point numbers of 16 bits or more, to "
                    f"which differences can be added, but is of {entries[name].dtype}; load the "
                    "model in another dtype."
                )
        for name, head in heads.items():
            _check_shape(name, tuple(sft.whole[name].shape), head)
            _check_writable(name, head)
            _check_keeps(name, sft.whole[name], head)
        return cls(entries, heads)

    def check_apart(self) -> None:
        """Refuse names that mean one tensor, or parts of one: what is written last would count.

        Raises:
            LtsftError: If two do.
        """
        twice = next(((name, name) for name in self.entries if name in self.heads), None)
        if both := twice or sharing(self.entries | self.heads):
            raise LtsftError(
                f"`{both[0]}` and `{both[1]}` are expected to be different tensors, each changed "
                "once, but share memory in this model; untie them first, or leave one out of the "
                "fine-tuning."
            )


def _once(heads: dict[str, Tensor], sft: Parts) -> dict[str, Tensor]:
    """One name for each tensor, where a model ties several and the same is to go into all."""
    names: dict[int, str] = {}
    for name, tensor in heads.items():
        first = names.setdefault(id(tensor), name)
        if first != name and not same_bits(sft.whole[first], sft.whole[name]):
            raise LtsftError(
                f"`{first}` and `{name}` are expected to be one tensor, as the model ties "
                f"them, but have different values in {sft!r}; leave one out."
            )
    return {name: heads[name] for name in names.values()}


def _check_writable(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that cannot be written entry by entry."""
    if tensor.is_meta:
        raise LtsftError(
            f"`{name}` is expected to have values, but is on the device `meta`; load the model's "
            "weights first."
        )
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise LtsftError(
            f"`{name}` is expected to be writable, but was made in inference mode; apply in "
            "`torch.inference_mode()`, or load the model outside of it."
        )
    if is_sharded(tensor):
        raise LtsftError(
            f"`{name}` is expected to be whole, but is sharded over ranks (FSDP2); apply before "
            "`fully_shard`, or train on several languages with DDP (`trainer.strategy: ddp`)."
        )
    if hasattr(tensor, "__tensor_flatten__"):  # it has tensors inside, and no memory of its own
        raise LtsftError(
            f"`{name}` is expected to be a plain tensor, but is a {type(tensor).__name__}; apply "
            "before the model is sharded or quantized."
        )
    if tensor.layout != torch.strided or tensor.is_quantized or overlaps_itself(tensor):
        raise LtsftError(
            f"`{name}` is expected to be a dense tensor with memory for each entry, but is of "
            f"{tensor.dtype}, {tensor.layout}, shape {tuple(tensor.shape)}, and is sparse, "
            "quantized or expanded; load the model as plain tensors."
        )


def _check_keeps(name: str, value: Tensor, head: Tensor) -> None:
    """Refuse a head that cannot hold a value up to rounding."""
    is_rounded = value.is_floating_point() and head.is_floating_point() and head.itemsize > 1
    if value.dtype == head.dtype:
        return
    if not is_rounded or not torch.equal(value.to(head.dtype).isfinite(), value.isfinite()):
        raise LtsftError(
            f"`{name}` is expected to hold values of {value.dtype}, as in training, but is of "
            f"{head.dtype} in this model; load the model in that dtype."
        )


def find(model: nn.Module, names: list[str], sft: Parts) -> dict[str, Tensor]:
    """Look up the tensors that `names` mean in `model`."""
    tensors = _tensors(model)
    prefix = getattr(model, "base_model_prefix", "") + "."
    here = {name: tensors.get(name, tensors.get(name.removeprefix(prefix))) for name in names}
    missing = [name for name, tensor in here.items() if tensor is None]
    if missing:
        here_from = getattr(model, "name_or_path", "")
        of = f" of {here_from}" if here_from and here_from != sft.metadata.base_model else ""
        raise LtsftError(
            f"{sft!r} is expected to be applied to a model that has all its parameters, but "
            f"{type(model).__name__}{of} lacks {len(missing)} of {len(names)}, e.g. "
            f"`{missing[0]}`; load {sft.metadata.base_model or 'the base model'} with the class it "
            "was trained in."
        )
    return {name: tensor for name, tensor in here.items() if tensor is not None}


def _find_heads(model: nn.Module, sft: Parts, whole: bool | None) -> dict[str, Tensor]:
    """Look up the tensors of the heads to put in place, head by head (first part of the name)."""
    if whole is False:
        return {}
    tensors = _tensors(model)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in (name for name in sft.whole if not _is_inside(name, model)):
        groups[name.split(".")[0]].append(name)
    heads: dict[str, Tensor] = {}
    for group, names in groups.items():
        missing = [name for name in names if name not in tensors]
        if whole is None and len(missing) == len(names):
            continue
        if missing:
            raise LtsftError(
                f"the head `{group}` of {sft!r} is expected to fit {type(model).__name__}, but the "
                f"model lacks `{missing[0]}`; load the class it was trained in, or `whole=False`."
            )
        heads |= {name: tensors[name] for name in names}
    return heads


def _is_inside(name: str, model: nn.Module) -> bool:
    """Whether a name is of the encoder's, not of a head on top of it."""
    return name.startswith(getattr(model, "base_model_prefix", "") + ".")


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(named_buffers(model)) | dict(named_parameters(model, remove_duplicate=False))


def _check_shape(name: str, expected: tuple[int, ...], tensor: Tensor) -> None:
    """Refuse a tensor of another shape than in training."""
    if tuple(tensor.shape) != expected:
        raise LtsftError(
            f"`{name}` is expected to have shape {expected} as in training, but has "
            f"{tuple(tensor.shape)} in this model; load the base model with the same vocabulary "
            "and number of labels."
        )


def check_ties(model: nn.Module, sft: Parts, entries: Mapping[str, Tensor]) -> None:
    """Refuse a model that ties what was apart in training, or the other way round."""
    tensors = _tensors(model)
    for name in (name for name in sft.entries if name in sft.metadata.tied and name in tensors):
        here = tensors[name]
        apart = [
            other
            for other in sft.metadata.tied
            if other in tensors
            and tensors[other].shape == here.shape
            and tensors[other] is not here
        ]
        if apart:
            raise LtsftError(
                f"`{name}` is expected to be tied to `{apart[0]}` as in training, but in this "
                "model each has weights of its own; tie them first (`model.tie_weights()`)."
            )
    for names in tied_names(model).values():
        touched = [name for name in entries if entries[name] is tensors[names[0]]]
        if touched and not set(names) <= set(sft.metadata.tied):
            other = next(name for name in reversed(names) if name != touched[0])
            raise LtsftError(
                f"`{touched[0]}` is expected to have weights of its own as in training, but this "
                f"model ties it to `{other}`; untie first "
                "(`ltsft.modules.untie_output_embeddings(model)`)."
            )


def check_labels(model: nn.Module, sft: Parts, heads: Iterable[str]) -> None:
    """Refuse a head whose outputs the model calls otherwise; pipelines would name them wrongly."""
    names = getattr(getattr(model, "config", None), "id2label", None) or {}
    labels = sft.metadata.labels
    if not labels or all(_is_inside(name, model) for name in heads):
        return
    here = [names.get(number, names.get(str(number))) for number in range(len(labels))]
    known = ({None, label, f"LABEL_{number}"} for number, label in enumerate(labels))
    if any(name not in names_known for name, names_known in zip(here, known, strict=True)):
        raise LtsftError(
            f"the head of {sft!r} is expected to have the outputs {', '.join(labels):.200}, but "
            f"`config.id2label` of the model says {', '.join(map(str, here)):.200}; load it with "
            "`id2label=dict(enumerate(sft.metadata.labels))`."
        )
