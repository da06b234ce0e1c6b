"""``ltsft convert``: what others published or fine-tuned, as a sparse fine-tuning."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ltsft.errors import LtsftError
from ltsft.exchange import published
from ltsft.sparse import Budget, SparseFineTuning
from ltsft.sparse.location import locate
from ltsft.terminal.output import libraries_on_stdout
from ltsft.terminal.plain_parser import PlainParser


def make_parser() -> PlainParser:
    """The parser of ``ltsft convert``."""
    parser = PlainParser(
        "ltsft convert",
        description="Read a sparse fine-tuning that was published with Ansell et al. (2022) "
        "(pytorch_diff.bin, with its head): 63 languages and several tasks, e.g. "
        "cambridgeltl/mbert-lang-sft-hsb-small. Or, with --num-params or --density, take the "
        "largest differences between a checkpoint of transformers and the --base it was made from.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder, file or user/repo[@revision] of a published one; or a full fine-tuning",
    )
    parser.add_argument("output", metavar="OUTPUT", help="folder to make")
    parser.add_argument(
        "--base",
        help="pretrained model; of a published SFT default: what the repository's name says. If "
        "given, it is loaded, and the SFT will refuse another one",
    )
    parser.add_argument("--revision", help="revision of the base model on the hub")
    parser.add_argument(
        "--task",
        help="what it is for: masked-lm (a language), pos, ner, dp, nli, qa, …; default: as the "
        "name says",
    )
    parser.add_argument("--language", help="language code; default: as the name says")
    parser.add_argument(
        "--labels",
        help="label names in the order of the head's outputs, joined by commas; default: of dp and "
        "nli those of the paper, of a checkpoint its own",
    )
    parser.add_argument(
        "--num-params", type=int, metavar="K", help="keep the K largest differences"
    )
    parser.add_argument(
        "--density", type=float, help="keep so large a share of the differences, e.g. 0.05"
    )
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    output = Path(options.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LtsftError(f"`OUTPUT` is expected to be a new folder, but {output} exists already.")
    with libraries_on_stdout():
        sft = _of_checkpoint(options) if _is_full(options) else _of_published(options)
        sft.save_pretrained(output)
    print(f"Wrote {sft!r} to {output}.")
    if sft.whole and sft.metadata.head != "language" and sft.metadata.labels is None:
        print("warning: what its head's outputs stand for is not known; name them by `--labels`.")


def _is_full(options: Any) -> bool:
    return options.num_params is not None or options.density is not None


def _of_published(options: Any) -> SparseFineTuning:
    path = locate(options.source, published.FILE_NAME)
    if not path.is_file():
        raise LtsftError(
            f"`SOURCE` is expected to be a folder, a file or a repository `user/repo` with "
            f"`{published.FILE_NAME}`, but there is no {options.source}."
        )
    metadata = published.describe(str(Path(options.source).expanduser()))
    metadata = replace(metadata, **_about(options))
    sft = published.read_published(path, metadata)
    if options.base is None:
        return sft
    from ltsft.exchange.finetuned import of_base

    return of_base(sft, options.base, options.revision)


def _of_checkpoint(options: Any) -> SparseFineTuning:
    if options.base is None:
        raise LtsftError(
            "`--base` is expected to name the pretrained model that SOURCE was made from, but is "
            "missing."
        )
    from ltsft.exchange.finetuned import largest_changes

    budget = Budget(options.num_params, options.density)
    return largest_changes(
        options.source, options.base, budget, options.revision, **_about(options)
    )


def _about(options: Any) -> dict[str, Any]:
    """Fields of the metadata that were given."""
    labels = options.labels and options.labels.split(",")
    values = {"task": options.task, "language": options.language, "labels": labels}
    known = {field: value for field, value in values.items() if value is not None}
    if labels and len(set(labels)) < len(labels):
        raise LtsftError(f"`--labels` is expected to name different labels, but got {labels}.")
    return known
