"""Adapters that the `adapters` library wrote, as on AdapterHub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.exchange.adapterhub_files import read_files
from ltsft.exchange.adapterhub_heads import Head, read_head
from ltsft.exchange.torch_file import to_float32
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.slot import AdapterSlot, SlotName
from ltsft.sparse import Metadata, SparseFineTuning
from ltsft.sparse.metadata import LANGUAGE_TASK

_TYPES: dict[SlotName, str] = {"language": "text_lang", "task": "text_task"}  # of 2020

_PREFIXES = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta"}

_PFEIFFER = {
    "mh_adapter": False,
    "output_adapter": True,
    "original_ln_before": True,
    "original_ln_after": True,
    "residual_before_ln": True,
    "ln_before": False,
    "ln_after": False,
    "scaling": 1.0,
    "dropout": 0.0,
    "is_parallel": False,
    "use_gating": False,
    "phm_layer": False,
    "cross_adapter": False,
}
"""What the configuration called Pfeiffer or `seq_bn` is, beside sizes and activation. A file from
before an option existed lacks it."""

_ACTIVATIONS = {
    "old": {"relu": "relu", "gelu": "gelu_new", "gelu_orig": "gelu"},
    "new": {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_new"},
}
"""Before configs had a `version`, "gelu" was the tanh approximation."""

_IN_LAYER = re.compile(
    r"(?P<prefix>\w+\.)?encoder\.layer\.(?P<layer>\d{1,3})\.output\."
    r"(?:adapters|layer_text_lang_adapters|layer_text_task_adapters)\.(?P<name>[^.]+)\."
    r"adapter_(?P<part>down\.0|up)\.(?P<kind>weight|bias)"
)
_INVERTIBLE = re.compile(
    r"(?P<prefix>\w+\.)?(?:invertible_adapters|invertible_lang_adapters)\.(?P<name>[^.]+)\."
    r"(?P<half>[FG])\.(?P<part>0|2)\.(?P<kind>weight|bias)"
)
_MAX_SIZE = 1 << 24  # of hidden states, which no model reaches

_PARTS = {"down.0": "down", "up": "up", "0": "down", "2": "up"}


def read_adapter(
    source: str | Path, adapters: Adapters, slot: SlotName, *, head: bool = True
) -> SparseFineTuning:
    """Read an adapter of the Pfeiffer configuration, with or without invertible adapter.

    Both layouts are read: that of 2020, in which language and task adapters have keys of their own,
    and today's. The result can be saved, and named wherever a fine-tuning can. It lacks digests:
    the file tells the base model's name, not its weights. A task's head comes with it, if it is one
    linear layer for tags or questions; that of a language is left out.

    An adapter of 2020 with GELU has ReLU in its invertible adapter, which copies saved again by a
    newer version no longer say: for those, "the same as elsewhere" is all that the file tells.

    Args:
        source: Folder or zip with ``adapter_config.json`` and ``adapter.safetensors`` or
            ``pytorch_adapter.bin``; or one of the latter two files, with the config beside it.
        adapters: The model's options. Of a language, layers that they leave out are dropped, as in
            MAD-X 2.0, and noted in the metadata; a task's adapter is kept whole. Everything else
            must be as in the file.
        slot: What the adapter is of.
        head: Whether a task's head is read, if there is one.

    Returns:
        A fine-tuning without entries that fills the slot.

    Raises:
        LtsftError: If it is anything else, or does not suit `adapters`.
    """
    about, tensors, of_head = read_files(Path(source))
    try:
        reader = _Reader(about, slot)
        own_head = None
        if head and slot == "task" and of_head is not None:
            own_head = read_head(*of_head, reader.hidden_size)
        return reader.read(tensors, adapters, own_head)
    except LtsftError as error:
        raise LtsftError(
            f"`{source}` cannot be used as an adapter of the {slot}: {error}"
        ) from error


class _Reader:
    """Checks a config, and tensors by it."""

    def __init__(self, about: dict[str, Any], slot: SlotName) -> None:
        self.about, self.slot = about, slot
        config = about.get("config")
        if not isinstance(config, dict):
            raise LtsftError(
                f"`config` is expected to be an object of adapter options, but got {config!r:.40}."
            )
        self.config = config
        for key, expected in _PFEIFFER.items():
            if (value := config.get(key, expected)) != expected:
                raise LtsftError(
                    f"`{key}` is expected to be {expected}, as in the Pfeiffer configuration, but "
                    f"got {value!r:.80}."
                )
        if (kind := about.get("type", _TYPES[slot])) != _TYPES[slot]:
            raise LtsftError(f"`type` is expected to be {_TYPES[slot]}, but got {kind!r:.80}.")
        model_type = about.get("model_type")
        if not isinstance(model_type, str) or model_type not in _PREFIXES:
            raise LtsftError(
                f"`model_type` is expected to be one of {', '.join(_PREFIXES)}, but got "
                f"{model_type!r:.80}."
            )
        self.prefix = _PREFIXES[model_type]
        hidden_size = about.get("hidden_size")
        if type(hidden_size) is not int or not 1 <= hidden_size <= _MAX_SIZE:
            raise LtsftError(
                f"`hidden_size` is expected to be a positive number, but got {hidden_size!r:.80}."
            )
        self.hidden_size = hidden_size
        self.left_out = set(self._left_out(config.get("leave_out") or []))
        self.activation = self._activation(config.get("non_linearity"))
        self.invertible_activation = self._invertible_activation()

    def read(
        self, tensors: Mapping[str, Tensor], adapters: Adapters, head: Head | None = None
    ) -> SparseFineTuning:
        """Turn the tensors into those of the slot that `adapters` make."""
        whole = self._renamed(tensors)
        layers = {int(m[1]) for name in whole if (m := re.search(r"\.layer\.(\d+)\.", name))}
        if not layers:
            raise LtsftError("layers are expected to have adapters, but the file has none at all.")
        num_layers = max(layers | self.left_out) + 1
        wanted = adapters.slots(self.hidden_size, num_layers, self.slot)[self.slot]
        self._check_options(whole, wanted)
        shapes = self._shapes(set(range(num_layers)) - self.left_out, wanted)
        if odd := sorted(shapes.keys() ^ whole.keys()):
            state = "missing" if odd[0] in shapes else "too many"
            raise LtsftError(
                f"the file is expected to hold 4 tensors of each of {num_layers} layers but "
                f"{sorted(self.left_out)}, and 8 of an invertible adapter if there is one, but "
                f"`{odd[0]}` (as called here) is {state}."
            )
        for name, shape in shapes.items():
            if tuple(whole[name].shape) != shape:
                raise LtsftError(
                    f"`{name}` (as called here) is expected to have shape {shape}, but has "
                    f"{tuple(whole[name].shape)}."
                )
        if absent := sorted(set(wanted.layers) - layers):
            raise LtsftError(
                f"layers {wanted.layers} are expected to have adapters, but the file has none in "
                f"{absent}; add them to `adapters.leave_out`."
            )
        dropped = sorted(layers - set(wanted.layers))
        if dropped and self.slot == "task":
            raise LtsftError(
                f"the file has adapters in layers {dropped}, which `adapters.leave_out` leaves "
                "out; what a task trained is kept whole: take these layers out of `leave_out` "
                "(`null` leaves out none)."
            )
        kept = self._shapes(set(wanted.layers), wanted)
        origin: dict[str, Any] = {
            key: self.about[key] for key in ("name", "version", "type") if key in self.about
        }
        if dropped:
            origin["dropped_layers"] = dropped
        task = LANGUAGE_TASK if self.slot == "language" else head and head.task
        return SparseFineTuning(
            {},
            {name: whole[name] for name in kept} | (head.tensors if head else {}),
            Metadata.from_values(
                {
                    "base_model": self.about.get("model_name"),
                    "task": task,
                    "labels": head and head.labels,
                    "slots": {self.slot: wanted.to_json()},
                    "extra": {"adapterhub": origin},
                }
            ),
        )

    def _left_out(self, layers: Any) -> list[int]:
        # A negative number leaves out no layer there.
        if not isinstance(layers, list) or not all(type(n) is int and n < 1000 for n in layers):
            raise LtsftError(
                f"`leave_out` is expected to list layers by their numbers, but got {layers!r:.40}."
            )
        return [number for number in layers if number >= 0]

    def _activation(self, name: Any) -> str:
        names = _ACTIVATIONS["new" if "version" in self.about else "old"]
        if not isinstance(name, str) or name not in names:
            raise LtsftError(
                f"`non_linearity` is expected to be one of {', '.join(names)}, but got "
                f"{name!r:.80}."
            )
        return names[name]

    def _invertible_activation(self) -> str | None:
        """Non-linearity of the invertible adapter; ``None`` if there is to be none."""
        old = self.config.get("invertible_adapter")
        if self.slot == "task" and old is not None:
            return None  # task configs of 2020 list one that does not exist
        if old is None:
            block = self.config.get("inv_adapter")
            factor = self.config.get("inv_adapter_reduction_factor")
            activation = self.activation
        elif isinstance(old, dict):
            block, factor = old.get("block_type"), old.get("reduction_factor")
            activation = self._activation(old.get("non_linearity"))
        else:
            block = factor = old
        if block is None:
            return None
        if (block, factor) != ("nice", 2):
            raise LtsftError(
                "the invertible adapter is expected to be `nice` with reduction factor 2, but got "
                f"{block!r:.80} with {factor!r:.80}."
            )
        return activation

    def _renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        renamed: dict[str, Tensor] = {}
        names, prefixes = set(), set()
        for key, tensor in tensors.items():
            match = _IN_LAYER.fullmatch(key) or _INVERTIBLE.fullmatch(key)
            if match is None:
                raise LtsftError(
                    f"tensors are expected to be those of the Pfeiffer configuration, but got "
                    f"`{key:.200}`."
                )
            names.add(match["name"])
            prefixes.add(match["prefix"] or "")
            place = (
                f"encoder.layer.{int(match['layer'])}.output.adapters.{self.slot}"
                if "layer" in match.groupdict()
                else f"embeddings.invertible.{match['half'].lower()}"
            )
            name = f"{self.prefix}.{place}.{_PARTS[match['part']]}.{match['kind']}"
            if name in renamed:
                raise LtsftError(
                    f"`{key:.200}` is expected once, but is there under another name too."
                )
            renamed[name] = to_float32(key, tensor)
        if len(names) > 1 or names - {str(self.about.get("name", *names))}:
            raise LtsftError(
                f"the file is expected to hold one adapter, named {self.about.get('name')!r:.80} "
                f"as in its config, but got {', '.join(sorted(names)):.200}."
            )
        if len(prefixes) > 1 or prefixes - {"", f"{self.prefix}."}:
            raise LtsftError(
                f"keys are expected to begin with `{self.prefix}.`, or all with `encoder`, but got "
                f"{', '.join(sorted(prefixes)):.200}."
            )
        return renamed

    def _check_options(self, whole: Mapping[str, Tensor], wanted: AdapterSlot) -> None:
        """Compare what the file is with what it has to be, option by option."""
        biases = (whole[name] for name in whole if name.endswith(f".{self.slot}.down.bias"))
        width = next((len(bias) for bias in biases if bias.dim()), None)
        factor = f"{self.slot}_reduction_factor"
        for option, expected, value in (
            (factor, f"width {wanted.width}", f"width {width}"),
            ("activation", wanted.activation, self.activation),
            (
                "invertible",
                wanted.invertible_width is not None,
                self.invertible_activation is not None,
            ),
            ("invertible_activation", wanted.invertible_activation, self.invertible_activation),
        ):
            if value != expected:
                raise LtsftError(
                    f"`adapters.{option}` is expected to suit the file, but asks for {expected}, "
                    f"and the file has {value}."
                )

    def _shapes(self, layers: set[int], wanted: AdapterSlot) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all tensors of the slot, with adapters in `layers`."""
        h, m, q = wanted.hidden_size, wanted.width, wanted.invertible_width
        places = {
            f"{self.prefix}.encoder.layer.{number}.output.adapters.{self.slot}": (h, m, h)
            for number in sorted(layers)
        }
        if q is not None:
            first, second = h // 2, h - h // 2
            places[f"{self.prefix}.embeddings.invertible.f"] = (second, q, first)
            places[f"{self.prefix}.embeddings.invertible.g"] = (first, q, second)
        shapes: dict[str, tuple[int, ...]] = {}
        for place, (size_in, width, size_out) in places.items():
            shapes[f"{place}.down.weight"] = (width, size_in)
            shapes[f"{place}.down.bias"] = (width,)
            shapes[f"{place}.up.weight"] = (size_out, width)
            shapes[f"{place}.up.bias"] = (size_out,)
        return shapes
