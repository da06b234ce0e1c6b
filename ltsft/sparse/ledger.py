"""What fine-tunings are in place in a model, and what its tensors are without them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.sparse.delta import Parts
from ltsft.sparse.digest import algorithm_of, tensor_digest
from ltsft.sparse.names import named_parameters
from ltsft.sparse.shard import gathered, is_sharded, reshard

_Key = tuple[str, str]  # a tensor's name, the algorithm of its digest
_Stamp = tuple[int, float]

_TRAINED_IN = (torch.bfloat16, torch.float16, torch.float64)
"""What precisions make of a model's float32 before it trains."""


class InPlace(Protocol):
    """What a ledger has to know of a fine-tuning that is in place."""

    sft: Parts

    def put_back(self, name: str, tensor: Tensor) -> None:
        """Write the values from before into a tensor that stands for that of the name."""


@dataclass
class Ledger:
    """What is in place in one model, and the digests of its tensors without it.

    A digest is trusted as long as nobody but this module wrote to the tensor since, told by the
    tensor's version counter; so swapping languages hashes each tensor once.
    """

    lock: RLock = field(default_factory=RLock)
    """Held while what is in place changes, so that threads wait for each other."""

    stack: list[InPlace] = field(default_factory=list)
    _digests: dict[_Key, str] = field(default_factory=dict)
    _tensors: dict[_Key, Tensor] = field(default_factory=dict)
    _stamps: dict[_Key, _Stamp] = field(default_factory=dict)
    _writes: dict[int, tuple[Tensor, _Stamp]] = field(default_factory=dict)

    def digest(self, name: str, tensor: Tensor, like: str | None = None) -> str:
        """Digest of a tensor as it is without the fine-tunings in place.

        Args:
            name: The tensor's, in fine-tunings.
            tensor: As it is now.
            like: A digest that it is to be compared with; ``None``: of this version.
        """
        key = name, algorithm_of(like)
        if self._stamps.get(key) != _stamp(tensor):
            self._digests[key] = tensor_digest(self._base(name, tensor), like)
            self._tensors[key], self._stamps[key] = tensor, _stamp(tensor)
        return self._digests[key]

    def _base(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor as it is without the fine-tunings in place: itself, or a copy."""
        base = gathered(tensor).clone() if self.stack else gathered(tensor)
        for applied in reversed(self.stack):
            applied.put_back(name, base)
        return base

    def _rounds_to(self, digest: str, name: str, tensor: Tensor) -> bool:
        """Whether a digest is of a tensor in another type: as ``bf16-true`` trains it, say."""
        base = self._base(name, tensor)
        return any(tensor_digest(base.to(dtype), digest) == digest for dtype in _TRAINED_IN)

    def check_base(self, sft: Parts, tensors: dict[str, Tensor]) -> None:
        """Refuse a model in which `tensors` are not those of the fine-tuning's base.

        Nor what those were rounded to, if it was trained in half or in double precision.
        """
        expected = sft.metadata.base_digests
        base = sft.metadata.base_model
        for name in (name for name in tensors if name in expected):
            if self.digest(name, tensors[name], expected[name]) != expected[
                name
            ] and not self._rounds_to(expected[name], name, tensors[name]):
                dtype = tensors[name].dtype
                is_exact = dtype in (torch.float32, torch.float64)
                rounded = "" if is_exact else f" (it is {dtype}: load it with dtype=torch.float32)"
                raise LtsftError(
                    f"{sft!r} is expected to be applied to the weights it was trained from"
                    f"{f' ({base})' if base else ''}, but `{name}` of the model differs{rounded}; "
                    "load that model, revert what was applied to it, or pass `check_base=False`."
                )

    @contextmanager
    def own_writes(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Keep trusting tensors over writes of ours, but not over those of others before.

        Args:
            tensors: What is written to.
        """
        trusted = [n for n, tensor in self._tensors.items() if self._stamps[n] == _stamp(tensor)]
        ours = [t for t in tensors.values() if id(t) not in self._writes or self.is_ours(t)]
        with torch.no_grad():
            yield
        for name in trusted:
            self._stamps[name] = _stamp(self._tensors[name])
        for tensor in ours:
            self._writes[id(tensor)] = tensor, _stamp(tensor)

    def is_ours(self, tensor: Tensor) -> bool:
        """Whether nobody else wrote to a tensor since a fine-tuning was put into it."""
        _, stamp = self._writes.get(id(tensor), (None, None))
        return stamp == _stamp(tensor)

    def forget_writes(self) -> None:
        """Begin anew: what is in the tensors now is the base, whoever wrote it."""
        self._writes = {}


_ledgers: WeakKeyDictionary[nn.Module, Ledger] = WeakKeyDictionary()
_making_one = Lock()


def ledger_of(model: nn.Module) -> Ledger:
    """The one ledger of a model, as long as it lives."""
    with _making_one:
        return _ledgers.setdefault(model, Ledger())


def base_digests(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Digests of a model's parameters as they are without the fine-tunings in place.

    Args:
        model: The model that :meth:`SparseFineTuning.apply` was given, if any was applied.
        names: Names of parameters; where ranks share them out, all ranks have to ask.
    """
    ledger = ledger_of(model)
    reshard(model)
    parameters = dict(named_parameters(model))
    with ledger.lock:
        return {name: ledger.digest(name, parameters[name]) for name in names}


def _stamp(tensor: Tensor) -> _Stamp:
    """Another one after each write; where writes are not counted, never the same."""
    is_uncounted = tensor.is_inference() or is_sharded(tensor)
    return tensor.data_ptr(), float("nan") if is_uncounted else tensor._version
