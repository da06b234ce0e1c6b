"""A sparse fine-tuning that is in place in a model, and can be taken off bit for bit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.delta import Parts
from ltsft.sparse.digest import tensor_digest
from ltsft.sparse.names import named_buffers, named_parameters
from ltsft.sparse.scope import tied_names
from ltsft.sparse.slots import check_slots


class Applied:
    """The handle of :meth:`SparseFineTuning.apply`.

    Reverting by subtraction would drift by a rounding error with each swap, and floating-point
    addition depends on the order. So the overwritten values are kept and put back, last in first
    out. Before putting them back it is checked that the entries still hold what was written:
    reverting after a training step would silently erase that step.

    Args:
        sft: What to apply.
        model: Where to; changed in place.
        check_base: Compare the touched tensors with the digests of the base model.
        whole: See :meth:`SparseFineTuning.apply`.

    Raises:
        LtsftError: If it does not fit; the model is then untouched.
    """

    def __init__(
        self, sft: Parts, model: nn.Module, *, check_base: bool, whole: bool | None
    ) -> None:
        expect_type("model", model, nn.Module, "sft.apply(model)")
        self.sft = sft
        self._ledger = _ledgers.setdefault(model, _Ledger())
        if any(_is_same(applied.sft, sft) for applied in self._ledger.stack):
            raise LtsftError(
                f"{sft!r} is expected to be applied once, but is in place already; revert it first."
            )
        check_slots(model, sft)
        entries = _find(model, list(sft.entries), sft)
        inside = [name for name in sft.whole if _is_inside(name, model)]
        heads = _find(model, inside, sft) | _find_heads(model, sft, whole)
        for name, delta in sft.entries.items():
            _check_shape(name, tuple(delta.shape), entries[name])
        for name, head in heads.items():
            _check_shape(name, tuple(sft.whole[name].shape), head)
        _check_ties(model, sft)
        if check_base:
            # Without entries it touches no tensor of the base; then all that it knows must agree.
            names = list(sft.entries or sft.metadata.base_digests)
            self._ledger.check_base(sft, _find(model, names, sft))

        self._positions = {
            name: delta.indices.to(entries[name].device) for name, delta in sft.entries.items()
        }
        self._targets, self._heads = entries, heads
        self._before: dict[str, Tensor] = {}
        self._written: dict[str, Tensor] = {}
        with torch.no_grad(), self._ledger.own_writes():
            for name, delta in sft.entries.items():
                flat, at = self._flat(name)
                before = flat[at]
                # Half-precision weights are widened for the sum and rounded once.
                dtype = torch.promote_types(before.dtype, delta.values.dtype)
                after = before.to(dtype) + delta.values.to(before.device, dtype)
                self._before[name], self._written[name] = before, after.to(before.dtype)
                flat[at] = self._written[name]
            for name, head in heads.items():
                self._before[name] = head.detach().clone()
                head.copy_(sft.whole[name])
                self._written[name] = head.detach().clone()
        self._ledger.stack.append(self)

    def revert(self) -> None:
        """Put back the values from before, bit for bit; a second call does nothing.

        Raises:
            LtsftError: If another fine-tuning was applied later and is still in place, or the
                weights were changed since.
        """
        if self not in self._ledger.stack:
            return
        if self._ledger.stack[-1] is not self:
            raise LtsftError(
                "sparse fine-tunings are expected to be reverted last in, first out, but "
                f"{self._ledger.stack[-1].sft!r} was applied after {self.sft!r}; revert it first."
            )
        for name, written in self._written.items():
            flat, at = self._flat(name)
            if not torch.equal(flat[at], written.flatten().to(flat.device, flat.dtype)):
                raise LtsftError(
                    f"`{name}` is expected to hold the fine-tuned values still, but was changed "
                    "since; revert before weights are trained or loaded, or reload the base model."
                )
        with torch.no_grad(), self._ledger.own_writes():
            for name, before in self._before.items():
                flat, at = self._flat(name)
                flat[at] = before.flatten().to(flat.device, flat.dtype)
        self._ledger.stack.pop()

    def _put_back(self, name: str, tensor: Tensor) -> None:
        """Write the values from before into a tensor that stands for `name`."""
        if name in self._targets:
            at = self._positions[name].to(tensor.device)
            tensor.view(-1)[at] = self._before[name].to(tensor.device, tensor.dtype)

    def _flat(self, name: str) -> tuple[Tensor, Tensor | slice]:
        """A flat view of a touched tensor, and the touched positions in it."""
        if name in self._heads:
            return self._heads[name].detach().view(-1), slice(None)
        flat = self._targets[name].detach().view(-1)
        return flat, self._positions[name].to(flat.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.revert()


@dataclass
class _Ledger:
    """What is in place in one model, and the digests of its tensors without it.

    A digest is trusted as long as nobody but this module wrote to the tensor since, told by the
    tensor's version counter; so swapping languages hashes each tensor once.
    """

    stack: list[Applied] = field(default_factory=list)
    _digests: dict[str, str] = field(default_factory=dict)
    _tensors: dict[str, Tensor] = field(default_factory=dict)
    _stamps: dict[str, tuple[int, int]] = field(default_factory=dict)

    def digest(self, name: str, tensor: Tensor) -> str:
        """Digest of a tensor as it is without the fine-tunings in place."""
        if self._stamps.get(name) != _stamp(tensor):
            base = tensor.detach().clone()
            for applied in reversed(self.stack):
                applied._put_back(name, base)
            self._digests[name] = tensor_digest(base)
            self._tensors[name], self._stamps[name] = tensor, _stamp(tensor)
        return self._digests[name]

    def check_base(self, sft: Parts, tensors: dict[str, Tensor]) -> None:
        """Refuse a model in which `tensors` are not those of the fine-tuning's base."""
        expected = sft.metadata.base_digests
        base = sft.metadata.base_model
        for name in (name for name in tensors if name in expected):
            if self.digest(name, tensors[name]) != expected[name]:
                dtype = tensors[name].dtype
                is_exact = dtype in (torch.float32, torch.float64)
                rounded = "" if is_exact else f" (it is {dtype}: load it with dtype=torch.float32)"
                raise LtsftError(
                    f"{sft!r} is expected to be applied to the weights it was trained from"
                    f"{f' ({base})' if base else ''}, but `{name}` of the model differs{rounded}; "
                    "load that model, revert what was applied to it, or pass `check_base=False`."
                )

    @contextmanager
    def own_writes(self) -> Iterator[None]:
        """Keep trusting digests over writes of ours, but not over those of others before."""
        trusted = [n for n, tensor in self._tensors.items() if self._stamps[n] == _stamp(tensor)]
        yield
        for name in trusted:
            self._stamps[name] = _stamp(self._tensors[name])


def base_digests(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Digests of a model's parameters as they are without the fine-tunings in place.

    Args:
        model: The model that :meth:`SparseFineTuning.apply` was given, if any was applied.
        names: Names of parameters.
    """
    ledger = _ledgers.setdefault(model, _Ledger())
    parameters = dict(named_parameters(model))
    return {name: ledger.digest(name, parameters[name]) for name in names}


_ledgers: WeakKeyDictionary[nn.Module, _Ledger] = WeakKeyDictionary()


def _stamp(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor._version


def _find(model: nn.Module, names: list[str], sft: Parts) -> dict[str, Tensor]:
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
    if tuple(tensor.shape) != expected:
        raise LtsftError(
            f"`{name}` is expected to have shape {expected} as in training, but has "
            f"{tuple(tensor.shape)} in this model; load the base model with the same vocabulary "
            "and number of labels."
        )


def _is_same(one: Parts, other: Parts) -> bool:
    """Whether two fine-tunings are the same, heads aside where there is a difference."""
    if one.entries and other.entries:
        return one is other or dict(one.entries) == dict(other.entries)
    return one == other


def _check_ties(model: nn.Module, sft: Parts) -> None:
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
        touched = [name for name in names if name in sft.entries]
        if touched and not set(names) <= set(sft.metadata.tied):
            raise LtsftError(
                f"`{touched[0]}` is expected to have weights of its own as in training, but this "
                f"model ties it to `{next(n for n in names if n not in touched)}`; untie first "
                "(`ltsft.modules.untie_output_embeddings(model)`)."
            )
