"""``ltsft inspect``: what a fine-tuning is, on what base, and its size per tensor."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ltsft.errors import printable
from ltsft.sparse.equivalents import EncoderSize, Equivalents
from ltsft.sparse.header import Header
from ltsft.sparse.location import locate
from ltsft.terminal.plain_parser import PlainParser
from ltsft.terminal.table import table

if TYPE_CHECKING:
    from ltsft.sparse import SparseFineTuning

_NUM_TENSORS_SHOWN = 10
_NUM_WHOLE_SHOWN = 6


def make_parser() -> PlainParser:
    """The parser of ``ltsft inspect``."""
    parser = PlainParser("ltsft inspect", description="Show what sparse fine-tunings are.")
    parser.add_argument("sfts", nargs="+", metavar="SFT", help="folder, file or user/repo[@rev]")
    parser.add_argument("--all", action="store_true", help="show all tensors, not the largest only")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead")
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    described = {name: describe(_read(name)) for name in options.sfts}
    if options.json:
        print(json.dumps([{"sft": name, **about} for name, about in described.items()], indent=2))
        return
    print("\n\n".join(as_text(name, about, options.all) for name, about in described.items()))


def _read(name: str) -> Header:
    header = Header.read(locate(name))
    header.check_digest()
    return header


def describe(sft: "Header | SparseFineTuning") -> dict[str, Any]:
    """All that can be said about a fine-tuning, JSON values only.

    Args:
        sft: It, or the header of its file, which is read without torch.

    Returns:
        `task`, `language`, `labels`, `base_model`, `base_revision`, `trained_with`, `selection`,
        `phases`, `versions` and `extra` as in its metadata; `num_params` (K), `num_maskable`,
        `num_total`, `density` (share of the maskable entries), `density_of_model` (of all the
        model's), `reduction_factor` (the r of adapters of that size, where layers and hidden size
        can be read off names and shapes) and `reduction_factor_invertible` (the r beside an
        invertible adapter, where there is room for one), `adapters` (by slot: `num_params`,
        `nominal_num_params`, the K that stands for it in the paper, the `options` of
        `model.init_args.adapters` that a model needs for it), `num_whole` (parameters in whole
        tensors), `tensors` (largest first) and `whole`.

    Raises:
        LtsftError: If the description of an adapter is none.
    """
    meta, same = sft.metadata, _equivalents(sft)
    tensors = [
        {
            "name": name,
            "shape": list(delta.shape),
            "num_params": len(delta),
            "density": _share(len(delta), _size(delta.shape)),
        }
        for name, delta in sft.entries.items()
    ]
    return {
        "task": meta.task,
        "language": meta.language,
        "labels": meta.labels,
        "base_model": meta.base_model,
        "base_revision": meta.base_revision,
        "trained_with": meta.trained_with,
        "selection": meta.selection,
        "num_params": sft.num_params,
        "num_maskable": meta.num_maskable,
        "num_total": meta.num_total,
        "density": same.density,
        "density_of_model": same.density_of_model,
        "reduction_factor": same.reduction_factor,
        "reduction_factor_invertible": same.reduction_factor_invertible,
        "adapters": {name: _describe_slot(slot) for name, slot in meta.slots.items()},
        "num_whole": sum(tensor.numel() for tensor in sft.whole.values()),
        "phases": meta.phases,
        "versions": meta.versions,
        "extra": meta.extra,
        "tensors": sorted(tensors, key=lambda tensor: -int(tensor["num_params"])),
        "whole": {name: list(tensor.shape) for name, tensor in sft.whole.items()},
    }


def _describe_slot(described: Any) -> dict[str, Any]:
    # Torch is imported where there is an adapter only.
    from ltsft.modules.adapters.adapters import Adapters
    from ltsft.modules.adapters.slot import AdapterSlot

    slot = AdapterSlot.from_json(described)
    return {
        "num_params": slot.num_params(),
        "nominal_num_params": slot.nominal_num_params(),
        "size": slot.explain(),
        "options": asdict(Adapters.of_slot(slot)),
        "slot": slot.to_json(),
    }


def as_text(name: str, about: dict[str, Any], show_all: bool) -> str:
    """What :func:`describe` found, for a terminal."""
    lines = [name]

    def say(key: str, value: object) -> None:
        lines.append(printable(f"  {key + ':':15}{value}"))

    say("task", about["task"] or "unknown")
    if about["language"]:
        say("language", about["language"])
    if about["labels"]:
        say("labels", ", ".join(about["labels"]))
    revision = f" at {about['base_revision']}" if about["base_revision"] else ""
    say("base", f"{about['base_model'] or 'unknown'}{revision}")
    if about["trained_with"]:
        say("trained over", ", ".join(about["trained_with"]))
    shares = [
        f"{about[key]:.2%} of {about[count]:,} {what}"
        for key, count, what in (
            ("density", "num_maskable", "maskable"),
            ("density_of_model", "num_total", "in the whole model"),
        )
        if about[key] is not None
    ]
    say("entries", ", ".join([f"{about['num_params']:,}", *shares]))
    if about["reduction_factor"]:
        equal = f"reduction_factor: {about['reduction_factor']:.4g}"
        if about["reduction_factor_invertible"]:
            equal += f", or {about['reduction_factor_invertible']:.4g} with `invertible: true`"
        say("equals", equal)
    if about["selection"]:
        say("selection", about["selection"])
    for phase, settings in about["phases"].items():
        text = settings
        if isinstance(settings, dict):
            text = ", ".join(f"{k} {v}" for k, v in settings.items() if v is not None)
        say(f"{phase} phase", text)
    for key, value in about["extra"].items():
        say(key, value)
    if about["versions"]:
        say("made by", ", ".join(f"{lib} {version}" for lib, version in about["versions"].items()))
    for slot, values in about["adapters"].items():
        say("adapter", f"of the {slot}: {values['size']}")
        say("options", ", ".join(f"{key}: {value}" for key, value in values["options"].items()))
    if about["whole"]:
        names = [f"{tensor} {shape}" for tensor, shape in about["whole"].items()]
        if not show_all and (more := len(names) - _NUM_WHOLE_SHOWN) > 0:
            names = [*names[:_NUM_WHOLE_SHOWN], f"and {more} more (--all)"]
        say("whole", f"{about['num_whole']:,} parameters: {', '.join(names)}")
    tensors = about["tensors"] if show_all else about["tensors"][:_NUM_TENSORS_SHOWN]
    rows = [
        [printable(t["name"]), str(t["shape"]), f"{t['num_params']:,}", f"{t['density'] or 0:.2%}"]
        for t in tensors
    ]
    if rows:
        lines += ["", table(["tensor", "shape", "entries", "density"], rows)]
    if hidden := len(about["tensors"]) - len(tensors):
        lines.append(f"and {hidden} more tensors (--all)")
    return "\n".join(lines)


def _equivalents(sft: "Header | SparseFineTuning") -> Equivalents:
    shapes = {name: tuple(delta.shape) for name, delta in sft.entries.items()}
    return Equivalents(
        sft.num_params,
        num_maskable=sft.metadata.num_maskable,
        num_total=sft.metadata.num_total,
        size=EncoderSize.read_off(sft.metadata.base_digests, shapes),
    )


def _share(count: int, total: int | None) -> float | None:
    return count / total if total else None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
