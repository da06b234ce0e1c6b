"""Scores side by side: target × whose language SFT was in place."""

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from ltsft.commands.files import table, write_atomically
from ltsft.errors import LtsftError
from ltsft.study.plan import CONDITIONS, languages_under


def main(args: list[str]) -> int:
    """Read the scores of a study's tests; write ``table.md``, ``table.csv`` and ``table.json``."""
    parser = argparse.ArgumentParser("python -m ltsft.study.table", description=main.__doc__)
    parser.add_argument("output", help="folder of the study")
    parser.add_argument("--source", required=True, help="language code of the source")
    parser.add_argument("--targets", required=True, nargs="+", help="language codes of the targets")
    options = parser.parse_args(args)
    folder = Path(options.output)
    scores = {
        condition: json.loads(path.read_text(encoding="utf-8"))
        for condition in CONDITIONS
        if (path := folder / "test" / condition / "scores.json").is_file()
    }
    result = collect(scores, options.source, options.targets)
    write_atomically(folder / "table" / "table.json", json.dumps(result, indent=2) + "\n")
    write_atomically(folder / "table" / "table.csv", as_csv(result))
    write_atomically(folder / "table" / "table.md", as_markdown(result) + "\n")
    return 0


def collect(scores: dict[str, dict[str, float]], source: str, targets: list[str]) -> dict[str, Any]:
    """Gather the main score of each target under each condition.

    Args:
        scores: Condition -> what ``ltsft test`` wrote, ``test_<metric>/<language>`` -> score.
        source: Language code of the source.
        targets: Language codes of the targets.

    Returns:
        `metric`, the first one logged that is no loss; `source`; `rows`, one per target, and
        `mean`, each condition -> score in percent; `wrong`, target -> the language that was wrong.

    Raises:
        LtsftError: If a score is missing.
    """
    metric = _main_metric(scores)
    rows = {}
    for target in targets:
        key = f"{metric}/{target}"
        if missing := [condition for condition in scores if key not in scores[condition]]:
            raise LtsftError(
                f"the tests are expected to have scored `{key}` each, but {missing[0]!r} has not."
            )
        rows[target] = {condition: 100 * scores[condition][key] for condition in scores}
    return {
        "metric": metric,
        "source": source,
        "rows": rows,
        "mean": {c: sum(row[c] for row in rows.values()) / len(rows) for c in scores},
        "wrong": languages_under("wrong", source, targets),
    }


def as_markdown(result: dict[str, Any]) -> str:
    """The table as Markdown, with a line below that says what is what."""
    conditions = list(result["mean"])
    names = {
        "alone": "task SFT alone",
        "source": f"+ {result['source']}",
        "wrong": "+ wrong",
        "target": "+ target's",
    }
    rows = [
        [name, *(f"{row[condition]:.1f}" for condition in conditions)]
        for name, row in [*result["rows"].items(), ("mean", result["mean"])]
    ]
    note = f"{result['metric'].removeprefix('test_')} in percent"
    if result["wrong"]:
        note += "; wrong: " + ", ".join(f"{w} for {t}" for t, w in result["wrong"].items())
    header = ["target", *(names[condition] for condition in conditions)]
    return f"{table(header, rows)}\n\n{note}"


def as_csv(result: dict[str, Any]) -> str:
    """The table as CSV, one row per target, full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", *result["mean"]])
    for target, row in result["rows"].items():
        writer.writerow([target, *row.values()])
    return text.getvalue()


def _main_metric(scores: dict[str, dict[str, float]]) -> str:
    for key in next(iter(scores.values()), {}):
        metric = key.partition("/")[0]
        if "/" in key and not metric.endswith("_loss"):
            return metric
    raise LtsftError("the tests are expected to have logged a score per language, but have none.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
