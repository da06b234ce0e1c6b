"""A sparse fine-tuning φ as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.sparse import file_format, hub, location
from ltsft.sparse.applied import Applied
from ltsft.sparse.delta import SparseDelta
from ltsft.sparse.mask import Mask
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.ranks import Ranks
from ltsft.sparse.same import same_bits
from ltsft.sparse.shard import shards


@dataclass(frozen=True, eq=False, repr=False)
class SparseFineTuning:
    """A difference vector φ that is sparse, with the heads that belong to it.

    Values of this class are never changed in place: ``a + b`` and ``a * 0.5`` make new ones.
    Addition is composition (Ansell et al., 2022, §3.1): θ⁰ + φ_task + φ_language.

    Args:
        entries: Parameter name -> selected entries. Names are relative to the model that the
            fine-tuning is applied to.
        whole: Parameter name -> value of heads, adapters and other parameters that are kept whole.
            These are values, not differences: scaling leaves them alone.
        metadata: Where it comes from and what it is for.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> delta = SparseDelta((1, 2), torch.tensor([1]), torch.tensor([0.5]))
        >>> sft = SparseFineTuning({"weight": delta})
        >>> with (sft + sft * 2).apply(model):
        ...     model.weight.tolist()
        [[1.0, 2.5]]
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """

    entries: Mapping[str, SparseDelta]
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        for name in ("entries", "whole"):  # later changes of what was given are not ours
            object.__setattr__(self, name, dict(getattr(self, name)))

    @classmethod
    def from_difference(
        cls,
        module: nn.Module,
        initial: Mapping[str, Tensor],
        mask: Mask,
        whole: Mapping[str, Tensor] | None = None,
        metadata: Metadata | None = None,
        ranks: Ranks | None = None,
    ) -> "SparseFineTuning":
        """Take φ = θ - θ⁰ at the selected entries of a trained module.

        All K selected positions are kept, also where the difference is 0. Differences are taken in
        float32 (float64 parameters: float64). One rounding is left: θ⁰ + φ equals θ within one unit
        in the last place of the larger of the two.

        Args:
            module: The trained module.
            initial: Values of the maskable parameters before training, by name: whole, or at the
                selected entries only, [K of it].
            mask: Which entries were selected.
            whole: Tensors kept whole, by name.
            metadata: See :class:`Metadata`.
            ranks: The processes that trained it; those that share parameters out join what each
                has, a tensor at a time, so that all of them have all of it, on the CPU.
        """
        ranks = ranks or Ranks()
        entries = {}
        shares = shards(module)
        for name in mask:
            share, indices = shares[name], mask.indices_of(name)
            parameter = share.local.detach()
            dtype = torch.promote_types(parameter.dtype, torch.float32)
            start = initial[name].to(parameter.device).flatten()
            start = (start[indices] if len(start) == parameter.numel() else start).to(dtype)
            values = parameter.flatten()[indices].to(dtype) - start
            indices = torch.cat(ranks.of_shards((indices + share.first).cpu()))
            values = torch.cat(ranks.of_shards(values.cpu()))
            if len(indices):
                entries[name] = SparseDelta(tuple(share.shape), indices, values)
        copies = {name: t.detach().cpu().clone() for name, t in (whole or {}).items()}
        return cls(entries, copies, metadata or Metadata())

    @property
    def num_params(self) -> int:
        """Number of selected entries, K."""
        return sum(len(delta) for delta in self.entries.values())

    def __repr__(self) -> str:
        meta = self.metadata
        facts = [f"{key}={v!r:.80}" for key in ("task", "language") if (v := getattr(meta, key))]
        of = (
            f" ({self.num_params / meta.num_maskable:.2%} of {meta.num_maskable:,})"
            if meta.num_maskable
            else ""
        )
        facts.append(f"{self.num_params:,} entries{of} in {len(self.entries)} tensors")
        facts.append(f"{len(self.whole)} whole tensors")
        facts += [f"adapters of the {slot:.80}" for slot in meta.slots]
        return f"SparseFineTuning({', '.join(facts)})"

    def __eq__(self, other: object) -> bool:
        """Whether entries and whole tensors are the same bit for bit; metadata is not compared."""
        return (
            isinstance(other, SparseFineTuning)
            and dict(self.entries) == dict(other.entries)
            and self.whole.keys() == other.whole.keys()
            and all(same_bits(self.whole[name], other.whole[name]) for name in self.whole)
        )

    __hash__ = None  # type: ignore[assignment]

    def __mul__(self, factor: float) -> "SparseFineTuning":
        """Scale the differences; whole tensors stay.

        Raises:
            LtsftError: If `factor` is no number.
        """
        if not isinstance(factor, Real | Tensor):
            raise LtsftError(
                f"a fine-tuning is expected to be multiplied by a number, but got {factor!r}; "
                "write `sft * 0.5`."
            )
        return self.with_entries({name: delta * factor for name, delta in self.entries.items()})

    __rmul__ = __mul__

    def __add__(self, other: "SparseFineTuning") -> "SparseFineTuning":
        """Compose: differences add up where both have an entry, whole tensors are joined.

        Raises:
            LtsftError: If base models, shapes or heads contradict each other.
        """
        if not isinstance(other, SparseFineTuning):
            return NotImplemented
        for name in self.whole.keys() & other.whole.keys():
            if not same_bits(self.whole[name], other.whole[name]):
                raise LtsftError(
                    "sparse fine-tunings are expected to be added only if at most one brings a "
                    f"head, but both bring `{name}`; leave one out with `.without_whole()`."
                )
        entries = dict(self.entries)
        for name, delta in other.entries.items():
            entries[name] = entries[name] + delta if name in entries else delta
        metadata = self.metadata.combined(other.metadata)
        return SparseFineTuning({}, {**self.whole, **other.whole}, metadata).with_entries(entries)

    def __radd__(self, other: object) -> "SparseFineTuning":
        """Let ``sum([a, b])`` add up, which begins with 0."""
        return self if other == 0 else NotImplemented

    def __neg__(self) -> "SparseFineTuning":
        return self * -1.0

    def __sub__(self, other: "SparseFineTuning") -> "SparseFineTuning":
        """Take away differences, as of something that is to be unlearned; see :meth:`__add__`."""
        return self + -other if isinstance(other, SparseFineTuning) else NotImplemented

    def __truediv__(self, divisor: float) -> "SparseFineTuning":
        """Scale by 1 / `divisor`."""
        return self * (1 / divisor)

    def with_entries(self, entries: Mapping[str, SparseDelta]) -> "SparseFineTuning":
        """The same with other entries, and with their number in the metadata."""
        changed = replace(self, entries=entries)
        return replace(changed, metadata=replace(self.metadata, num_params=changed.num_params))

    def without_whole(self) -> "SparseFineTuning":
        """The differences alone, without heads or adapters."""
        return replace(self, whole={}, metadata=replace(self.metadata, slots={}))

    def apply(
        self, model: nn.Module, *, check_base: bool = True, whole: bool | None = None
    ) -> Applied:
        """Add the differences to a model's weights, in place.

        The overwritten values are kept, so that :meth:`Applied.revert` (or the end of a ``with``
        block) leaves every bit as it was. Several fine-tunings may be in place at once; they are
        reverted in the opposite order. It is all or nothing: whatever ends it early, the model is
        untouched.

        Threads that apply, switch or revert on one model wait for each other, but a forward pass
        does not wait for them: hold a lock of your own around applying, using and reverting.

        Args:
            model: A model with parameters of the same names; a bare encoder also fits names that
                begin with its ``base_model_prefix``.
            check_base: Refuse a model whose weights are not those of training. Hashing the touched
                tensors takes a second or two for a base-sized model, the first time.
            whole: Put heads in place too. ``None``: each head that the model has. Whole tensors
                inside the encoder (its ``base_model_prefix`` begins their names), such as adapters,
                are part of the fine-tuning and go in whatever is said.

        Returns:
            The handle that takes it off again.

        Raises:
            LtsftError: If it does not fit or is in place already; the model is then untouched.
        """
        return Applied.put(self, model, check_base=check_base, whole=whole)

    def save(self, path: str | Path, *, packed: bool = False) -> None:
        """Write one safetensors file; see :mod:`ltsft.sparse.file_format`.

        Args:
            path: Of the file.
            packed: Without loss in about half of the bytes, to share; it takes longer to write and
                to read, and other programs need more than a few lines to read it.

        Raises:
            LtsftError: If `path` is a folder, or may not be written.
        """
        file_format.save(self, location.as_path(path), packed)

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = True) -> "SparseFineTuning":
        """Read the file that :meth:`save` wrote.

        Args:
            path: Of the file.
            verify: Check the digest, and that positions and values are what they should be.
                ``False`` is for files that were checked before: what is in them is read as it is
                used.

        Raises:
            LtsftError: If the file is missing, cut, altered or something else.
        """
        return cls(*file_format.load(location.as_path(path), verify))

    def save_pretrained(self, folder: str | Path, *, packed: bool = False) -> None:
        """Write ``sft.safetensors`` into a folder; `packed` is as in :meth:`save`."""
        self.save(location.as_path(folder) / location.FILE_NAME, packed=packed)

    def push_to_hub(self, repository: str, *, base_model: str | None = None, **options: Any) -> str:
        """Publish on the Hugging Face hub, with a card.

        Folders of this machine are not told.

        Args:
            repository: ``user/repo``; made if there is none.
            base_model: Name of the base model on the hub, where the metadata have a folder.
            **options: Of :func:`ltsft.sparse.hub.push`: `private`, `packed`, `license`, `datasets`,
                `scores`, `token`.

        Returns:
            ``user/repo@commit``, which :meth:`from_pretrained` takes.

        Raises:
            LtsftError: If the base model is a folder, or the hub refuses.
        """
        told = replace(self, metadata=hub.public(self.metadata, base_model))
        return hub.push(told, repository, **options)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, verify: bool = True
    ) -> "SparseFineTuning":
        """Read from a folder, a file, or a repository of the Hugging Face hub.

        What was downloaded once is found without the network too (``HF_HUB_OFFLINE=1``).

        Args:
            name: Path of a folder that holds ``sft.safetensors``, or of a file, or
                ``user/repo[@revision]``.
            revision: Branch, tag or commit of a repository; a commit is the same for ever.
            verify: See :meth:`load`.

        Raises:
            LtsftError: If there is nothing of that name, or it is no sparse fine-tuning.
        """
        return cls.load(location.locate(name, revision=revision), verify=verify)
