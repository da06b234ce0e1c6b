"""Scores side by side: target × whose language SFT was in place, for one system or several."""

import argparse
import csv
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ltsft.atomic import write_text
from ltsft.errors import LtsftError
from ltsft.study.cost import Cost, cost_of
from ltsft.study.plan import languages_under
from ltsft.terminal.table import table


def main(args: list[str]) -> int:
    """Read the scores of a study's tests; write ``table.md``, ``table.csv`` and ``table.json``."""
    parser = argparse.ArgumentParser("python -m ltsft.study.table", description=main.__doc__)
    parser.add_argument("output", help="folder of the study")
    parser.add_argument("--source", required=True, help="language code of the source")
    parser.add_argument("--targets", required=True, nargs="+", help="language codes of the targets")
    parser.add_argument(
        "--cases",
        required=True,
        type=json.loads,
        help="JSON: list of system, seed, and folders of the tests by condition",
    )
    options = parser.parse_args(args)
    result = collect(options.cases, options.source, options.targets)
    folder = Path(options.output) / "table"
    write_text(folder / "table.json", json.dumps(result.to_json(), indent=2) + "\n")
    write_text(folder / "table.csv", as_csv(result))
    write_text(folder / "table.md", as_markdown(result) + "\n")
    return 0


@dataclass(frozen=True)
class Results:
    """Scores of a study.

    Args:
        metric: What was scored, ``test_<metric>``.
        source: Language code of the source.
        targets: Language codes of the targets.
        scores: (system, seed, condition, target) -> score in percent.
        costs: (system, seed) -> what training took.
    """

    metric: str
    source: str
    targets: list[str]
    scores: dict[tuple[str, int, str, str], float]
    costs: dict[tuple[str, int], Cost]

    @property
    def systems(self) -> list[str]:
        """Names of the systems, in order."""
        return list(dict.fromkeys(system for system, _, _, _ in self.scores))

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return list(dict.fromkeys(seed for _, seed, _, _ in self.scores))

    @property
    def conditions(self) -> list[str]:
        """Whose language SFT was in place, in order."""
        return list(dict.fromkeys(condition for _, _, condition, _ in self.scores))

    def over_seeds(self, system: str, condition: str, target: str | None = None) -> list[float]:
        """Scores of each seed, for a target or the mean over all."""
        targets = [target] if target else self.targets
        return [
            mean(self.scores[system, seed, condition, name] for name in targets)
            for seed in self.seeds
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it, as primitives."""
        names = ("system", "seed", "condition", "target", "score")
        return {
            "metric": self.metric,
            "source": self.source,
            "wrong": languages_under("wrong", self.source, self.targets),
            "scores": [
                dict(zip(names, (*key, score), strict=True)) for key, score in self.scores.items()
            ],
            "costs": [
                {"system": system, "seed": seed} | cost._asdict()
                for (system, seed), cost in self.costs.items()
            ],
        }


def collect(cases: list[dict[str, Any]], source: str, targets: list[str]) -> Results:
    """Gather the main score of each target in each test.

    Args:
        cases: `system`, `seed`, and `tests`: condition -> folder with the ``scores.json`` that
            ``ltsft test`` wrote; `languages` and `task`: folders of the fits.
        source: Language code of the source.
        targets: Language codes of the targets.

    Raises:
        LtsftError: If a score is missing.
    """
    metric, scores, costs = None, {}, {}
    for case in cases:
        for condition, folder in case["tests"].items():
            path = Path(folder, "scores.json")
            logged = json.loads(path.read_text(encoding="utf-8"))
            metric = metric or _main_metric(logged)
            for target in targets:
                if f"{metric}/{target}" not in logged:
                    raise LtsftError(
                        f"the tests are expected to have scored `{metric}/{target}` each, but "
                        f"{path} has not."
                    )
                score = 100 * logged[f"{metric}/{target}"]
                scores[case["system"], case["seed"], condition, target] = score
        costs[case["system"], case["seed"]] = cost_of(case["languages"], case["task"])
    return Results(str(metric), source, targets, scores, costs)


def as_markdown(result: Results) -> str:
    """The table as Markdown, with a line below that says what is what."""
    note = f"{result.metric.removeprefix('test_')} in percent"
    if len(result.seeds) > 1:
        note += f"; mean ± standard deviation over {len(result.seeds)} seeds"
    wrong = languages_under("wrong", result.source, result.targets)
    if wrong and "wrong" in result.conditions:
        note += "; wrong: " + ", ".join(f"{w} for {t}" for t, w in wrong.items())
    if len(result.systems) == 1:
        return f"{_targets_by_condition(result)}\n\n{note}"
    return f"{_systems_by_target(result)}\n\n{note}\n\n{_costs(result)}\n\n{_COST_NOTE}"


def _targets_by_condition(result: Results) -> str:
    """A row per target, a column per language SFT in place."""
    (system,) = result.systems
    rows = [
        [name, *(_cell(result.over_seeds(system, c, target)) for c in result.conditions)]
        for name, target in [*((t, t) for t in result.targets), ("mean", None)]
    ]
    names = {
        "alone": "task SFT alone",
        "source": f"+ {result.source}",
        "wrong": "+ wrong",
        "target": "+ target's",
    }
    return table(["target", *(names[c] for c in result.conditions)], rows)


def _systems_by_target(result: Results) -> str:
    """A row per system and language part in place, the target's own first, a column per target."""
    rows = []
    for condition, suffix in (
        ("target", ""),
        ("alone", ", task only"),
        ("source", f", with {result.source}"),
        ("wrong", ", with a wrong language"),
    ):
        for system in result.systems if condition in result.conditions else []:
            scores = [
                _cell(result.over_seeds(system, condition, target))
                for target in [*result.targets, None]
            ]
            rows.append([system + suffix, *scores])
    return table(["system", *result.targets, "mean"], rows)


_COST_NOTE = (
    "entries: selected ones of a language and of a task; whole: trained and kept besides (heads, "
    "adapters); steps: optimizer steps of a language fit and of the task fit, both phases; min: of "
    "all language fits, of the task fit"
)


def _costs(result: Results) -> str:
    rows = []
    for system in result.systems:
        costs = [result.costs[system, seed] for seed in result.seeds]
        minutes = [
            f"{mean(seconds) / 60:.1f}"
            for seconds in (
                [cost.languages_seconds for cost in costs],
                [cost.task_seconds for cost in costs],
            )
        ]
        first = costs[0]
        rows.append(
            [
                system,
                f"{first.language_entries:,} / {first.task_entries:,}",
                f"{first.language_whole:,} / {first.task_whole:,}",
                " / ".join(
                    f"{mean(steps):,.0f}"
                    for steps in (
                        [cost.language_steps for cost in costs],
                        [cost.task_steps for cost in costs],
                    )
                ),
                " / ".join(minutes),
            ]
        )
    return table(["system: language / task", "entries", "whole", "steps", "min"], rows)


def as_csv(result: Results) -> str:
    """All scores as CSV, one row each, full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "seed", "condition", "target", "score"])
    writer.writerows([*key, score] for key, score in result.scores.items())
    return text.getvalue()


def _cell(scores: list[float]) -> str:
    """A score, or mean ± standard deviation (n - 1) of several.

    Example:
        >>> _cell([50.0]), _cell([50.0, 52.0])
        ('50.0', '51.0 ± 1.4')
    """
    spread = f" ± {stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{mean(scores):.1f}{spread}"


def _main_metric(logged: dict[str, float]) -> str:
    for key in logged:
        metric = key.partition("/")[0]
        if "/" in key and not metric.endswith("_loss"):
            return metric
    raise LtsftError("the tests are expected to have logged a score per language, but have none.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
