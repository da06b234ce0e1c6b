"""Putting slots for adapters into a pretrained encoder."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.bottleneck import Bottleneck
from ltsft.modules.adapters.invertible import InvertibleAdapter
from ltsft.modules.adapters.slot import AdapterSlot, SlotName

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
"""Encoders whose layers end in LN(dropout(dense(·)) + x): ``config.model_type``."""

_Norm = Callable[[Tensor], Tensor]


def _stack_as_in_code(adapters: Sequence[Bottleneck], u: Tensor, x: Tensor, norm: _Norm) -> Tensor:
    """Each adapter reads the normalised sum, and what it is added to is the state before it.

    An empty one needs no skipping: it adds exactly 0.
    """
    for adapter in adapters:
        u = adapter(norm(u + x)) + u
    return u


def _stack_as_in_paper(adapters: Sequence[Bottleneck], u: Tensor, x: Tensor, norm: _Norm) -> Tensor:
    """The first adapter reads the normalised sum, the next one its output; each is added to u.

    Empty ones are skipped: without a language the task's adapter is the first.
    """
    read, a = norm(u + x), u
    for adapter in adapters:
        # Chosen on the device: a Python `if` would make the GPU wait in every layer.
        filled, output = adapter.is_filled(), adapter(read) + u
        read, a = torch.where(filled, output, read), torch.where(filled, output, a)
    return a


_STACKINGS = {"code": _stack_as_in_code, "paper": _stack_as_in_paper}


class AdaptedOutput(nn.Module):
    """The end of an encoder layer, with adapters.

    With x the input of the feed-forward block, u its output, LN the layer's own pretrained (and
    frozen) normalisation and A an adapter, the layer's output is LN(a + x) where a = A(LN(u + x)) +
    u (Pfeiffer et al., 2020). A second adapter is stacked on the first, see :class:`Adapters`. A
    slot that nothing fills is skipped, as if it were not there; with none filled, a = u, and the
    output is the pretrained layer's bit for bit.

    Args:
        output: The pretrained module in its place, with `dense`, `dropout` and `LayerNorm`, which
            are taken over under their names.
        slots: Slots by name, in stacking order.
    """

    def __init__(self, output: nn.Module, slots: dict[SlotName, AdapterSlot]) -> None:
        super().__init__()
        self.dense = cast(nn.Linear, output.dense)
        self.LayerNorm = cast(nn.LayerNorm, output.LayerNorm)
        self.dropout = cast(nn.Dropout, output.dropout)
        self.adapters = nn.ModuleDict(
            {
                name: Bottleneck(slot.hidden_size, slot.width, slot.hidden_size, slot.activation)
                for name, slot in slots.items()
            }
        ).to(self.dense.weight)
        *_, last = slots.values()
        self._stack = _STACKINGS[last.stacking or "code"]

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Finish the layer.

        Args:
            hidden_states: Inner activations of the feed-forward block, [B, T, intermediate].
            input_tensor: x, its input, [B, T, h].

        Returns:
            Output of the layer, [B, T, h].
        """
        u = self.dropout(self.dense(hidden_states))
        adapters = [cast(Bottleneck, adapter) for adapter in self.adapters.values()]
        a = self._stack(adapters, u, input_tensor, self.LayerNorm)
        return cast(Tensor, self.LayerNorm(a + input_tensor))


def insert_adapters(
    model: nn.Module, adapters: Adapters, trained: SlotName = "task"
) -> dict[SlotName, AdapterSlot]:
    """Put empty slots for adapters into a pretrained model, whose outputs stay the same to the bit.

    Adapters are then put in and taken out by applying and reverting fine-tunings
    (:meth:`SparseFineTuning.apply`), which hold their tensors whole. The pretrained parameters keep
    their names. The invertible adapter acts behind the whole embeddings module, and its inverse in
    front of the output embeddings where the model has any (masked language models).

    Args:
        model: A Hugging Face model, with or without a head; changed in place.
        adapters: The options.
        trained: The slot to be trained; those above it are left out.

    Returns:
        The slots, also to be found in ``model.adapter_slots`` as primitives, which is what adapters
        are compared with.

    Raises:
        LtsftError: If the encoder is of another architecture, or has slots already.
    """
    encoder: Any = getattr(model, "base_model", model)
    kind = getattr(getattr(encoder, "config", None), "model_type", type(encoder).__name__)
    if kind not in MODEL_TYPES:
        raise LtsftError(
            f"`adapters` is expected to be given for an encoder of the types "
            f"{', '.join(MODEL_TYPES)}, but got {kind}; take another `base_model`."
        )
    if hasattr(encoder, "adapter_slots"):
        raise LtsftError("the model is expected to be without adapter slots, but has some already.")
    layers = encoder.encoder.layer
    slots = adapters.slots(encoder.config.hidden_size, len(layers), trained)
    for slot in slots.values():
        if slot.invertible_width is not None:
            _insert_invertible(model, encoder.embeddings, slot)
    *_, last = slots.values()
    for number in last.layers:
        layers[number].output = AdaptedOutput(layers[number].output, slots)
    for module in (model, encoder):
        module.adapter_slots = {name: slot.to_json() for name, slot in slots.items()}
    return slots


def _insert_invertible(model: nn.Module, embeddings: Any, slot: AdapterSlot) -> None:
    assert slot.invertible_width is not None
    assert slot.invertible_activation is not None
    adapter = InvertibleAdapter(
        slot.hidden_size, slot.invertible_width, slot.invertible_activation
    ).to(embeddings.word_embeddings.weight)
    embeddings.invertible = adapter
    embeddings.register_forward_hook(adapter.adapt_output)
    find_output = getattr(model, "get_output_embeddings", None)
    if (output := find_output and find_output()) is not None:
        output.register_forward_pre_hook(adapter.restore_input)


def slot_modules(model: nn.Module, name: SlotName) -> dict[str, Bottleneck | InvertibleAdapter]:
    """The adapters of a slot, by the names of the modules.

    Args:
        model: What :func:`insert_adapters` was given.
        name: The slot.
    """
    modules: dict[str, Bottleneck | InvertibleAdapter] = {}
    for path, module in model.named_modules():
        if isinstance(module, AdaptedOutput):
            modules[f"{path}.adapters.{name}"] = cast(Bottleneck, module.adapters[name])
        elif isinstance(module, InvertibleAdapter) and name == "language":
            modules[path] = module
    return modules


def neighbours(model: nn.Module) -> list[str]:
    """Names of the pretrained parameters beside adapters.

    By their digests the base model is recognised: the matrix, bias and normalisation that each
    adapter sits between, and the embeddings' normalisation. Hashing the whole encoder would tell no
    more, for continued training that leaves all of these as they were is hardly to be found.
    """
    places = [p for p, m in model.named_modules() if isinstance(m, AdaptedOutput)]
    owners = [f"{place}.{part}" for place in places for part in ("dense", "LayerNorm")]
    owners += [
        f"{path.removesuffix('.invertible')}.LayerNorm"
        for path, module in model.named_modules()
        if isinstance(module, InvertibleAdapter)
    ]
    return [
        f"{owner}.{name}"
        for owner in owners
        for name, _ in model.get_submodule(owner).named_parameters()
    ]
