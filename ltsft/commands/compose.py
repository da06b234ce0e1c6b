"""``ltsft compose``: fine-tunings as a plain Hugging Face checkpoint, or as one fine-tuning."""

from pathlib import Path
from typing import Any

from ltsft.errors import LtsftError
from ltsft.exchange.plain_checkpoint import HEADS, compose, save
from ltsft.sparse import SparseFineTuning, composition
from ltsft.sparse.composed import compose_sft
from ltsft.terminal.output import libraries_on_stdout
from ltsft.terminal.plain_parser import PlainParser

SETTINGS = {"density": "ties", "drop": "dare", "seed": "dare"}
"""Option -> the method it belongs to."""


def make_parser() -> PlainParser:
    """The parser of ``ltsft compose``."""
    parser = PlainParser(
        "ltsft compose",
        description="Add sparse fine-tunings to their base model and save a plain Hugging Face "
        "checkpoint with its tokenizer; nothing of ltsft is needed to load it. Or, with --as-sft, "
        "compose them to one fine-tuning.",
    )
    parser.add_argument("--base", help="pretrained model; default: the one the SFTs were made on")
    parser.add_argument("--revision", help="revision of the base model on the hub")
    parser.add_argument(
        "--sft",
        action="append",
        required=True,
        metavar="SFT",
        help="folder, file or user/repo[@revision]; repeat it: one task, any number of languages",
    )
    parser.add_argument(
        "--head",
        choices=HEADS,
        help="what the model is to do, where the SFTs' tasks do not tell",
    )
    parser.add_argument(
        "--method",
        choices=composition.METHODS,
        default="sum",
        help="how they are composed: the sum as in the paper (default), the mean of those that "
        "changed an entry, TIES (elected signs), or DARE (entries dropped at random)",
    )
    parser.add_argument(
        "--weight",
        action="append",
        type=float,
        metavar="W",
        help="factor of an SFT's differences, once for each --sft, in their order; default: 1",
    )
    parser.add_argument(
        "--density", type=float, help="ties: share of each SFT's entries that is kept; default: 1"
    )
    parser.add_argument(
        "--drop", type=float, help="dare: probability that an entry is dropped; default: 0.9"
    )
    parser.add_argument("--seed", type=int, help="dare: seed of the draws; default: 0")
    parser.add_argument(
        "--as-sft",
        action="store_true",
        help="write sft.safetensors, the composed differences with the head of the task's, and no "
        "checkpoint: for `base_sfts` and `languages.sfts`; any task, or languages alone, whose "
        "heads are left out if there are several",
    )
    parser.add_argument(
        "--packed",
        action="store_true",
        help="with --as-sft: the same in about half of the bytes, to share; a single --sft may be "
        "packed too",
    )
    parser.add_argument("--output", required=True, help="folder to make")
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    weights = _weights(options.weight, options.sft)
    settings = _settings(options)
    if options.as_sft:
        _check_no_model(options)
    elif options.packed:
        raise LtsftError(
            "`--packed` is expected beside `--as-sft` only; a checkpoint is written as it is."
        )
    output = Path(options.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LtsftError(f"`--output` is expected to be a new folder, but {output} exists already.")
    with libraries_on_stdout():
        sfts = {name: SparseFineTuning.from_pretrained(name) for name in options.sft}
        if options.as_sft:
            composed = compose_sft(sfts, options.method, weights, settings)
            composed.save_pretrained(output, packed=options.packed)
        else:
            model = compose(
                sfts,
                options.base,
                options.revision,
                options.head,
                options.method,
                weights,
                settings,
            )
            save(model, output, sfts, options.method, weights)
    terms = [f"{w:g} · {name}" if w != 1 else name for name, w in zip(sfts, weights, strict=True)]
    what = " + ".join(terms) if options.method == "sum" else f"{options.method}({', '.join(terms)})"
    written = composed if options.as_sft else type(model).__name__
    print(f"Wrote {written} with {what} to {output}.")


def _weights(weights: list[float] | None, names: list[str]) -> list[float]:
    if len(set(names)) < len(names):
        raise LtsftError(
            "`--sft` is expected to name each SFT once, but got "
            f"{next(name for name in names if names.count(name) > 1)} twice; use `--weight`."
        )
    if weights is None:
        return [1.0] * len(names)
    if len(weights) != len(names):
        raise LtsftError(
            "`--weight` is expected once for each `--sft`, in their order, but got "
            f"{len(weights)} for {len(names)}."
        )
    return weights


def _settings(options: Any) -> dict[str, Any]:
    """The options of the method that was asked for."""
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    for name in settings:
        if SETTINGS[name] != options.method:
            raise LtsftError(
                f"`--{name}` is expected beside `--method {SETTINGS[name]}` only, but the method "
                f"is {options.method}."
            )
    return settings


def _check_no_model(options: Any) -> None:
    """Refuse options about a model where none is written."""
    for name in ("base", "revision", "head"):
        if (value := getattr(options, name)) is not None:
            raise LtsftError(
                f"`--{name}` is expected to be left out with `--as-sft`, which writes no model, "
                f"but got {value}."
            )
