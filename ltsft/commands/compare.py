"""``ltsft compare``: predictions against gold annotation, with intervals and a paired test."""

import json
import sys
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from ltsft.data.formats.conllu import read_conllu
from ltsft.data.formats.iob2 import read_iob2
from ltsft.data.labels import map_tag
from ltsft.data.pairs import read_pairs
from ltsft.data.source import Source
from ltsft.errors import LtsftError
from ltsft.metrics.bootstrap import Score, bootstrap, compare, f1, ratio
from ltsft.metrics.span_f1 import labelled_spans
from ltsft.terminal.plain_parser import PlainParser
from ltsft.terminal.table import table

Rows = list[tuple[list[str], list[Any]]]
"""Words, or texts, and annotation of each example."""


class Measure(NamedTuple):
    """A score that can be resampled.

    Args:
        read: Reads a file; further arguments name the columns of a table, and say how many
            examples to read at the most.
        tally: What one example adds to the sums, from gold and predicted annotation.
        score: From sums to the score.
    """

    read: Callable[[Path, list[str], int | None], Rows]
    tally: Callable[[list[Any], list[Any]], list[int]]
    score: Score


def make_parser() -> PlainParser:
    """The parser of ``ltsft compare``."""
    parser = PlainParser(
        "ltsft compare",
        description="Score files that `ltsft predict` wrote against gold files, with 95% bootstrap "
        "intervals over sentences; every further system is compared with the first one by a "
        "paired bootstrap test.",
    )
    parser.add_argument("gold", help="file with the gold annotation")
    parser.add_argument(
        "predictions",
        nargs="+",
        help="a file per system; or FILE,FILE,... of several seeds, whose mean is scored",
    )
    parser.add_argument(
        "--metric", required=True, choices=[*MEASURES, "span_f1"], help="what is scored"
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        default=["premise", "hypothesis"],
        metavar="COLUMN",
        help="for `accuracy`: columns of the texts; default: premise hypothesis",
    )
    parser.add_argument(
        "--limit", type=int, help="read the first so many gold examples only, as `limit` of data"
    )
    parser.add_argument(
        "--tag-map",
        type=_tag_map,
        default={},
        metavar="YAML",
        help="for `span-f1`: types of entities to rename, as `data.tag_map` of the fit, e.g. "
        "'{DATE: O, MISC: O}'",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples; default: 0")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead")
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    options.metric = _metric(options.metric, options.gold)
    if options.tag_map and options.metric != "span-f1":
        raise LtsftError("`--tag-map` is expected beside `--metric span-f1` only; leave it out.")
    if options.limit is not None and options.limit < 1:
        raise LtsftError(
            f"`--limit` is expected to be 1 or more, but got {options.limit}; leave it out to "
            "compare on all examples."
        )
    measure = MEASURES[options.metric]

    def read(path: str) -> Rows:
        rows = measure.read(Path(path), options.texts, options.limit)
        if not options.tag_map:
            return rows
        return [(words, [map_tag(tag, options.tag_map) for tag in tags]) for words, tags in rows]

    gold = read(options.gold)

    predictions: dict[str, Rows] = {}

    def counts_in(path: str) -> Tensor:
        predicted = predictions[path] = read(path)
        return _counts(measure, options.gold, gold, path, predicted)

    systems = {name: _files(name) for name in options.predictions}
    repeats = any(len(set(files)) < len(files) for files in systems.values())
    if repeats or len(systems) < len(options.predictions):
        raise LtsftError("the predictions are expected to be different files, but one comes twice.")
    counts = {name: torch.stack(list(map(counts_in, files))) for name, files in systems.items()}
    first = counts[options.predictions[0]]
    rows = []
    for name, of_system in counts.items():
        row = {"predictions": name, **bootstrap(of_system, measure.score, options.seed)._asdict()}
        if of_system is not first:
            difference, p_value = compare(first, of_system, measure.score, options.seed)
            row |= {"difference": difference._asdict(), "p_value": p_value}
        rows.append(row)
    print(json.dumps(rows, indent=2) if options.json else _as_text(options.metric, rows))
    if options.metric == "span-f1" and (never := _never_predicted(gold, predictions.values())):
        counted = ", ".join(f"{number} {kind}" for kind, number in never.items())
        print(
            f"warning: {options.gold} has {counted}, which no system predicts, and they are counted"
            " as missed; `--tag-map` leaves out what the fit's `data.tag_map` did.",
            file=sys.stderr,
        )
    if perfect := [row["predictions"] for row in rows if row["low"] == 1]:
        print(
            f"warning: {', '.join(perfect)} is the same as {options.gold} in all that is scored; "
            "`ltsft predict` writes what it does not predict as it is in the data.",
            file=sys.stderr,
        )


def _tag_map(text: str) -> dict[str, str]:
    try:
        mapping = yaml.load(text, yaml.BaseLoader)  # all of it is text
    except yaml.YAMLError:
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        raise ArgumentTypeError(f"it is expected to be like '{{DATE: O, MISC: O}}', but got {text}")
    return mapping


def _never_predicted(gold: Rows, predictions: Iterable[Rows]) -> Counter[str]:
    """How often types of entities are in the gold file that no system predicts."""
    predicted = {tag[2:] for rows in predictions for _, tags in rows for tag in tags}
    kinds = Counter(tag[2:] for _, tags in gold for tag in tags if tag.startswith("B-"))
    return Counter({kind: n for kind, n in kinds.items() if kind not in predicted})


def _metric(name: str, gold: str) -> str:
    """The measure that is meant: by its name in configs, of parts of speech in CoNLL-U."""
    if name == "accuracy" and Path(gold).suffix == ".conllu":
        return "upos"
    if name == "accuracy" and Path(gold).suffix in (".txt", ".iob2", ".conll", ".bio"):
        raise LtsftError(
            f"`--metric` is expected to be span-f1 for entities in a file like {gold}, but got "
            "accuracy, which is of parts of speech in CoNLL-U, or of labels in a table."
        )
    return name.replace("_", "-")


def _files(system: str) -> list[str]:
    """The files of one system; a comma may also be part of a name."""
    files = [system] if Path(system).is_file() else system.split(",")
    if not all(files):
        raise LtsftError(
            f"the predictions of a system are expected to be FILE or FILE,FILE,..., but got "
            f"{system!r}; leave no comma at an end."
        )
    return files


def _as_text(metric: str, systems: list[dict[str, Any]]) -> str:
    rows = []
    for row in systems:
        difference, p_value = "", ""
        if "difference" in row:
            low, high = row["difference"]["low"], row["difference"]["high"]
            difference = (
                f"{100 * row['difference']['value']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            )
            p_value = f"{row['p_value']:.4f}"
        interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        score = f"{100 * row['value']:.1f}"
        rows.append([row["predictions"], score, interval, difference, p_value])
    return table(["predictions", metric, "95%", "difference to the first", "p"], rows)


def _counts(measure: Measure, gold_path: str, gold: Rows, path: str, predicted: Rows) -> Tensor:
    """What each example adds to the sums, [N, C].

    Raises:
        LtsftError: If the two files are not of the same sentences.
    """
    for number, (mine, theirs) in enumerate(zip(gold, predicted, strict=False), start=1):
        if mine[0] != theirs[0]:
            raise LtsftError(
                f"{path} is expected to have the words of {gold_path}, but sentence {number} "
                f"differs: {' '.join(theirs[0])[:60]!r}; predict for the same file."
            )
    if len(gold) != len(predicted):
        raise LtsftError(
            f"{path} is expected to have the {len(gold)} sentences of {gold_path}, but has "
            f"{len(predicted)}; predict for the same file, and give its `limit` here as `--limit`."
        )
    return torch.tensor(
        [
            measure.tally(right, guessed)
            for (_, right), (_, guessed) in zip(gold, predicted, strict=True)
        ]
    )


def _conllu(path: Path, limit: int | None, *, trees: bool) -> Rows:
    """Parts of speech, or heads with relations."""
    return [
        (s.words, list(zip(s.heads, s.relations, strict=True)) if trees else s.upos)
        for s in read_conllu(path, limit=limit, trees=trees)
    ]


def _labels(path: Path, texts: list[str], limit: int | None) -> Rows:
    """One label for each example; none where the gold file has none."""
    examples = read_pairs(Source.of(Source(str(path), limit=limit), "compare"), "test", texts=texts)
    return [(list(example.texts), [example.label]) for example in examples]


def _num_equal(gold: list[Any], predicted: list[Any]) -> list[int]:
    known = [(g, p) for g, p in zip(gold, predicted, strict=True) if g is not None]
    return [sum(g == p for g, p in known), len(known)]


def _num_entities(gold: list[str], predicted: list[str]) -> list[int]:
    of_gold, of_predicted = labelled_spans(gold), labelled_spans(predicted)
    return [len(of_gold & of_predicted), len(of_predicted), len(of_gold)]


MEASURES = {
    "accuracy": Measure(_labels, _num_equal, ratio),
    "upos": Measure(lambda path, _, limit: _conllu(path, limit, trees=False), _num_equal, ratio),
    "uas": Measure(
        lambda path, _, limit: _conllu(path, limit, trees=True),
        lambda gold, predicted: _num_equal([h for h, _ in gold], [h for h, _ in predicted]),
        ratio,
    ),
    "las": Measure(lambda path, _, limit: _conllu(path, limit, trees=True), _num_equal, ratio),
    "span-f1": Measure(
        lambda path, _, limit: [(s.words, s.tags) for s in read_iob2(path, limit=limit)],
        _num_entities,
        f1,
    ),
}
"""What can be scored, by name."""
