"""A sparse fine-tuning that is in place in a model, and can be taken off bit for bit."""

from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType
from typing import Self
from weakref import ref

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.common_parts import is_same, share_a_part
from ltsft.sparse.delta import Parts
from ltsft.sparse.flat import take, write
from ltsft.sparse.ledger import Ledger, ledger_of
from ltsft.sparse.places import Places, check_labels, check_ties, find
from ltsft.sparse.same import same_numbers
from ltsft.sparse.slots import check_slots

_PIECE_ENTRIES = 1 << 20  # four megabytes stay in the cache between the writes to them


class Applied:
    """The handle of :meth:`SparseFineTuning.apply`.

    Reverting by subtraction would drift by a rounding error with each swap, and floating-point
    addition depends on the order. So the overwritten values are kept and put back, last in first
    out. Where others wrote to a tensor in between it is checked first that the entries still hold
    what was written: reverting after a training step would silently erase that step.

    Made by :meth:`put`; the constructor checks that a fine-tuning fits, and touches nothing.

    Args:
        sft: What to apply.
        model: Where to; changed in place.
        check_base: Compare the touched tensors with the digests of the base model.
        whole: See :meth:`SparseFineTuning.apply`.
        instead_of: What it is to take the place of.

    Raises:
        LtsftError: If it does not fit.
    """

    def __init__(
        self,
        sft: Parts,
        model: nn.Module,
        *,
        check_base: bool,
        whole: bool | None,
        instead_of: "Applied | None" = None,
    ) -> None:
        self.sft = sft
        self._model = ref(model)  # a handle keeps no model alive
        self._ledger = ledger_of(model)
        others = [applied for applied in self._ledger.stack if applied is not instead_of]
        for other in (applied.sft for applied in others):
            if is_same(other, sft) or share_a_part(other, sft):
                at = "" if is_same(other, sft) else f", with or within {other!r}"
                raise LtsftError(
                    f"{sft!r} is expected to be applied once, but is in place already{at}; revert "
                    "it first (`Applied.of(model)[-1].revert()`), or name it once (in `base_sfts`, "
                    "`languages.sfts` or a composed one)."
                )
        check_slots(model, sft)
        self._whole = whole
        self._places = Places.of(sft, model, whole)
        check_ties(model, sft, self._places.entries)
        self._places.check_apart()
        check_labels(model, sft, self._places.heads)
        if check_base:
            # Without entries it touches no tensor of the base; then all that it knows must agree.
            names = list(sft.entries or sft.metadata.base_digests)
            self._ledger.check_base(sft, find(model, names, sft))

        self._positions = {
            name: delta.indices.to(self._places.entries[name].device)
            for name, delta in sft.entries.items()
        }
        self._may_overflow = {
            name
            for name, tensor in self._places.entries.items()
            if _may_overflow(tensor.dtype, sft.entries[name].largest)
        }
        self._before: dict[str, Tensor] = {}  # what it overwrites, as soon as it does
        self._reloaded: set[str] = set()  # what holds the base, as others put it there
        self._successor: Applied | None = None  # that took its place

    @staticmethod
    def of(model: nn.Module) -> "list[Applied]":
        """What is in place in a model, in the order in which it was put there."""
        return [applied for applied in ledger_of(model).stack if isinstance(applied, Applied)]

    def __repr__(self) -> str:
        is_there = self in self._ledger.stack
        return f"Applied({self.sft!r}, {'in place' if is_there else 'not in place'})"

    @classmethod
    def put(
        cls, sft: Parts, model: nn.Module, *, check_base: bool, whole: bool | None
    ) -> "Applied":
        """Check that a fine-tuning fits, and put it in place."""
        expect_type("model", model, nn.Module, "sft.apply(model)")
        with ledger_of(model).lock:
            applied = cls(sft, model, check_base=check_base, whole=whole)
            if not applied._ledger.stack:
                applied._ledger.forget_writes()
            _exchange(applied._ledger, None, applied)
            return applied

    def revert(self, *, check: bool = False) -> None:
        """Put back the values from before, bit for bit; a second call does nothing.

        Args:
            check: Look at each value that was written. Otherwise it is looked at only in tensors
                that others wrote to in between, as their version counters say; writing through
                ``.data`` goes past them.

        Raises:
            LtsftError: If another fine-tuning was applied later and is still in place, or the
                weights were changed since.
        """
        with self._ledger.lock:
            if self not in self._ledger.stack:
                return
            self._check_in_place(every_value=check)
            _exchange(self._ledger, self, None)

    def switch(
        self, sft: Parts, *, check_base: bool = True, whole: bool | None = None
    ) -> "Applied":
        """Put another fine-tuning in the place of this one, in one pass over the weights.

        The same, bit for bit, as :meth:`revert` and :meth:`SparseFineTuning.apply` after each
        other.

        Args:
            sft: The other one.
            check_base: See :meth:`SparseFineTuning.apply`.
            whole: Likewise.

        Returns:
            The handle of the other one. This one is of no more use, but the end of its ``with``
            block reverts the other.

        Raises:
            LtsftError: If this one is not in place, or cannot be reverted; or if the other one does
                not fit: then this one stays in place.
        """
        with self._ledger.lock:
            self._check_is_there()
            self._check_in_place(every_value=False)
            model = self._model()
            assert model is not None, "its ledger, which has this handle, is gone with it"
            other = Applied(sft, model, check_base=check_base, whole=whole, instead_of=self)
            _exchange(self._ledger, self, other)
            self._successor = other
            return other

    def _keep(self, name: str, part: slice) -> None:
        """Keep some of a tensor's touched values, which are about to be overwritten."""
        take(self._places.entries[name], self._positions[name][part], out=self._before[name][part])

    def _write(self, name: str, part: slice = slice(None)) -> None:
        """Write the fine-tuned values where those from before were kept."""
        if name in self._places.heads:
            self._places.heads[name].copy_(self.sft.whole[name])
            return
        tensor, before = self._places.entries[name], self._before[name][part]
        after = _sum(before, self.sft.entries[name].values[part])
        if name in self._may_overflow and bool((before.isfinite() & ~after.isfinite()).any()):
            raise LtsftError(
                f"`{name}` is expected to have room for the differences of {self.sft!r}, but some "
                f"are too large for {tensor.dtype}; load the model in another dtype."
            )
        at = self._positions[name][part]  # the model may have been moved or cast since
        write(tensor, at.to(tensor.device), after.to(tensor.device, tensor.dtype))

    def _put_again(self, name: str, part: slice = slice(None)) -> None:
        """Undo :meth:`put_back`."""
        if name not in self._reloaded:
            self._write(name, part)

    def put_back(self, name: str, tensor: Tensor, part: slice = slice(None)) -> None:
        """Write values from before into a tensor that is, or stands for, that of the name."""
        if name in self._positions:
            at, before = self._positions[name][part], self._before[name][part]
            write(tensor, at.to(tensor.device), before.to(tensor.device, tensor.dtype))
        elif name in self._before:
            tensor.copy_(self._before[name])

    def without(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a state dict of the model would be if this one were not in place.

        Args:
            state: As ``state_dict()`` of the model, or of a module around it, gives it.

        Returns:
            The same, with copies of the touched tensors, under whatever names, that hold the values
            from before. The model stays as it is.
        """
        names = {tensor.data_ptr(): name for name, tensor in self._touched().items()}
        plain = dict(state)
        for key, value in state.items():
            name = names.get(value.data_ptr()) if isinstance(value, Tensor) else None
            if name is not None and value.shape == self._touched()[name].shape:
                plain[key] = value.clone()
                self.put_back(name, plain[key])
        return plain

    def _parts(self, name: str, edges: Tensor) -> list[slice]:
        """Which of the touched positions of a tensor lie between each two edges."""
        if name not in self._positions:
            return [slice(0, 0)] * (len(edges) - 1)
        positions = self._positions[name]
        cuts = torch.searchsorted(positions, edges.to(positions)).tolist()
        return [slice(*ends) for ends in pairwise(cuts)]

    def _check_in_place(self, *, every_value: bool) -> None:
        """Refuse to take off what is not on top, or was written over."""
        if self._ledger.stack[-1] is not self:
            raise LtsftError(
                "sparse fine-tunings are expected to be reverted last in, first out, but "
                f"{self._ledger.stack[-1].sft!r} was applied after {self.sft!r}; revert it first."
            )
        model = self._model()
        if model is not None:  # modules may have put other parameters in the place of those
            self._places = Places.of(self.sft, model, self._whole)
        self._reloaded = set()
        for name, tensor in self._touched().items():
            if not every_value and self._ledger.is_ours(tensor):
                continue
            now, before = self._now(name), self._before[name]
            if same_numbers(now, self._written(name).to(now.device, now.dtype)):
                continue
            # Where the base was loaded again there is nothing to lose either.
            self._reloaded.add(name)
            if not same_numbers(now, before.to(now.device, now.dtype)):
                raise LtsftError(
                    f"`{name}` is expected to hold the fine-tuned values still, but was changed "
                    "since; revert before weights are trained or loaded, or reload the base model."
                )

    def _check_is_there(self) -> None:
        if self not in self._ledger.stack:
            raise LtsftError(
                f"{self.sft!r} is expected to be in place, but was reverted; put it, or another "
                "one, in place with `apply`."
            )

    def _now(self, name: str) -> Tensor:
        """What a touched tensor holds at the touched positions."""
        if name in self._places.heads:
            return self._places.heads[name].detach()
        tensor = self._places.entries[name]
        return take(tensor, self._positions[name].to(tensor.device))

    def _written(self, name: str) -> Tensor:
        """What was written there, should the model have been moved or cast since."""
        if name in self._places.heads:
            return self.sft.whole[name]
        return _sum(self._before[name], self.sft.entries[name].values)

    def _touched(self) -> dict[str, Tensor]:
        return self._places.entries | self._places.heads

    def __enter__(self) -> Self:
        self._check_is_there()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        last = self
        while last._successor is not None:
            last = last._successor
        last.revert()


@torch.no_grad()
def _exchange(ledger: Ledger, off: Applied | None, on: Applied | None) -> None:
    """Put back what one has overwritten and write the other, in one pass over the weights.

    All or nothing: if anything ends it half-way, an interrupt from the keyboard or a lack of
    memory, what was done is undone, the last first, and every bit is as it was. The values from
    before, which the way back needs anyway, are all that this takes.

    It goes piece by piece, so that what a piece needs is in the cache still when it is written.
    """
    touched = (off._touched() if off else {}) | (on._touched() if on else {})
    with ledger.own_writes(touched), ExitStack() as undo:
        undo.callback(ledger.stack.__setitem__, slice(None), list(ledger.stack))
        if on:
            on._before = {
                name: on._places.entries[name].new_empty(len(positions), requires_grad=False)
                for name, positions in on._positions.items()
            }
        if off:
            for name, head in off._places.heads.items():
                undo.callback(off._put_again, name)
                off.put_back(name, head)
        targets = (off._places.entries if off else {}) | (on._places.entries if on else {})
        for name, tensor in targets.items():
            step = _PIECE_ENTRIES if tensor.device.type == "cpu" else tensor.numel()
            edges = torch.arange(0, tensor.numel() + step, step).clamp(max=tensor.numel())
            nothing = [slice(0, 0)] * (len(edges) - 1)
            parts = [side._parts(name, edges) if side else nothing for side in (off, on)]
            for here, there in zip(*parts, strict=True):
                if off and here.start < here.stop:
                    undo.callback(off._put_again, name, here)
                    off.put_back(name, off._places.entries[name], here)
                if on and there.start < there.stop:
                    on._keep(name, there)
                    undo.callback(on.put_back, name, tensor, there)
                    on._write(name, there)
        if on:  # last: what is whole in this one may have been sparse in the other
            for name, head in on._places.heads.items():
                on._before[name] = head.detach().clone()
                undo.callback(on.put_back, name, head)
                on._write(name)
        others = [applied for applied in ledger.stack if applied is not off]
        ledger.stack[:] = others + ([on] if on else [])
        undo.pop_all()


def _may_overflow(dtype: torch.dtype, largest: float) -> bool:
    """Whether a finite number can become infinite by adding one of that size, and rounding."""
    limits = torch.finfo(dtype)
    return largest > limits.max * limits.eps / 4


def _sum(before: Tensor, values: Tensor) -> Tensor:
    """Values with differences added; half precision is widened for the sum and rounded once."""
    dtype = torch.promote_types(before.dtype, values.dtype)
    return (before.to(dtype) + values.to(before.device, dtype)).to(before.dtype)
