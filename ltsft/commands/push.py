"""``ltsft push``: fine-tunings to the Hugging Face hub, each with a card."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltsft.errors import LtsftError
from ltsft.sparse.location import is_repository
from ltsft.sparse.metadata import Metadata
from ltsft.terminal.plain_parser import PlainParser


def make_parser() -> PlainParser:
    """The parser of ``ltsft push``."""
    parser = PlainParser(
        "ltsft push",
        description="Publish fine-tunings on the Hugging Face hub, each in a repository of its own "
        "with a card made from what it says of itself. Log in by `hf auth login`, or set HF_TOKEN.",
    )
    parser.add_argument("sfts", nargs="+", metavar="SFT", help="folder or file")
    parser.add_argument(
        "--to",
        required=True,
        metavar="USER[/REPO]",
        help="repository; of a user or organisation alone, each is named by what it is, e.g. "
        "bert-base-multilingual-cased-sft-hsb or …-sft-pos-en",
    )
    parser.add_argument("--base", help="the base model's name on the hub, where it was a folder")
    parser.add_argument("--private", action="store_true", help="new repositories are yours alone")
    parser.add_argument("--license", help="one of the hub's names, e.g. cc-by-4.0")
    parser.add_argument(
        "--dataset", action="append", default=[], help="name on the hub of what it was trained on"
    )
    parser.add_argument("--scores", metavar="FILE", help="scores.json of `ltsft test`")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="do not pack the file; then a few lines of other programs can read it",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the cards, and publish nothing"
    )
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    scores = _scores(options.scores)
    if options.scores and len(options.sfts) > 1:
        raise LtsftError(
            "`--scores` is expected to be of one SFT, but got several; push each alone."
        )

    from ltsft.sparse import SparseFineTuning
    from ltsft.sparse.card import card
    from ltsft.sparse.hub import public

    # All are looked at before the first is published.
    sfts = {path: SparseFineTuning.from_pretrained(path) for path in options.sfts}
    told = {path: public(sft.metadata, options.base) for path, sft in sfts.items()}
    sfts = {path: replace(sft, metadata=told[path]) for path, sft in sfts.items()}
    names = _repositories(options.to, told)
    for path, sft in sfts.items():
        about: dict[str, Any] = {
            "license": options.license,
            "datasets": options.dataset,
            "scores": scores,
        }
        if options.dry_run:
            print(card(sft, names[path], **about))
            continue
        commit = sft.push_to_hub(
            names[path],
            private=options.private or None,
            packed=not options.plain,
            **about,
        )
        print(f"Published {path} as {commit}.", flush=True)


def _repositories(to: str, metadata: dict[str, Metadata]) -> dict[str, str]:
    """Path of a fine-tuning -> its repository.

    Raises:
        LtsftError: If two would have one, or there is nothing to name one by.
    """
    if is_repository(to):
        if len(metadata) > 1:
            raise LtsftError(
                f"`--to` is expected to be a user or organisation for {len(metadata)} SFTs, but "
                f"got the repository {to}; leave out what is after the slash."
            )
        return dict.fromkeys(metadata, to)
    if "/" in to:
        raise LtsftError(f"`--to` is expected to be `user` or `user/repo`, but got {to!r}.")
    names: dict[str, str] = {}
    for path, meta in metadata.items():
        what = [meta.language if meta.head == "language" else meta.task]
        what += [meta.language] if meta.head == "task" else []
        parts = [Path(meta.base_model or "").name, "sft", *what]
        if not all(parts[:3]):
            raise LtsftError(
                f"{path} is expected to say its base model and its task or language, by which its "
                "repository is named, but does not; name one, `--to user/repo`."
            )
        names[path] = f"{to}/{'-'.join(part for part in parts if part)}"
        if list(names.values()).count(names[path]) > 1:
            raise LtsftError(
                f"the SFTs are expected to be of different tasks or languages, but two would be "
                f"{names[path]}; push each alone, `--to user/repo`."
            )
    return names


def _scores(path: str | None) -> dict[str, float]:
    if path is None:
        return {}
    try:
        scores = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LtsftError(
            f"`--scores` is expected to be the scores.json of `ltsft test`, but {path}: {error}."
        ) from error
    if not isinstance(scores, dict) or not all(
        isinstance(value, int | float) for value in scores.values()
    ):
        raise LtsftError(
            f"`--scores` is expected to be the scores.json of `ltsft test`, but {path} has no "
            "scores by their names."
        )
    return scores
