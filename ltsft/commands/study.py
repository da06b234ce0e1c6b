"""``ltsft study``: Algorithm 1 from a base model to a table of transfer scores."""

import re
import sys
import time
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from ltsft.atomic import write_text
from ltsft.errors import LtsftError
from ltsft.study.config import Study
from ltsft.study.plan import Run, make_plan
from ltsft.terminal import yaml_text
from ltsft.terminal.complaints import OneLineParser, own_cause
from ltsft.terminal.config_file import check_configs
from ltsft.terminal.configs import with_paths


def main(name: str, args: list[str]) -> int:
    """Run the command."""
    if args[:1] == ["--job"] and len(args) == 2:  # one stage, called by the workflow
        from ltsft.study.job import run_job

        return run_job(args[1])
    if not args:
        raise LtsftError(
            "`ltsft study` is expected to get a config, but got nothing; name one (`ltsft study "
            "configs/study/quickstart.yaml`), or see `ltsft study --help`."
        )
    parser = make_parser()
    if args and not args[0].startswith("-"):
        args = ["--config", *args]
    args = with_paths(args)
    check_configs(args)
    _check_is_study(args)
    args, merged = merge_options(args)
    config = parser.parse_args(args)
    for fit, options in merged.items():
        config[fit].options = options
    study = make_study(parser, config)
    stem = Path(str(config.config[0])).stem if config.config else "study"
    output = Path(study.output or f"runs/{stem}")
    plan = make_plan(study, str(output))
    if config.dry_run:
        print("\n".join(describe(run) for run in plan))
        try:
            study.check_files()
        except LtsftError as error:
            print(f"warning: {error}", file=sys.stderr)
        return 0
    study.check_files()
    _run(plan, output, study.jobs, config.executor)
    return 0


def _check_is_study(args: list[str]) -> None:
    """Refuse the config of a fit."""
    for option, value in pairwise([*args, ""]):
        if option == "--config":
            config = yaml_text.load(Path(value).read_text(encoding="utf-8"))
            if {"model", "data", "trainer", "sparse"} & config.keys():
                raise LtsftError(
                    f"`--config` is expected to be that of a study, but {value} is of a fit; run "
                    f"`ltsft fit --config {value}`."
                )


def merge_options(args: list[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Merge the options of the two fits over all configs and arguments, later ones winning.

    A parser would let a later mapping take the place of an earlier one, whole. Keys of single
    options have dots, which it would take for levels of nesting.

    Args:
        args: The command line.

    Returns:
        The command line without single options, and name of the fit -> its options.

    Raises:
        LtsftError: If a value is missing.

    Example:
        >>> merge_options(["--task_fit.options", "{a.b: 1, c: 2}", "--task_fit.options.c", "3"])
        (['--task_fit.options', '{a.b: 1, c: 2}'], {'task_fit': {'a.b': 1, 'c': '3'}})
    """
    others: list[str] = []
    merged: dict[str, dict[str, Any]] = {}

    def merge(fit: str, options: Any) -> None:
        if isinstance(options, dict):  # the parser refuses anything else
            merged.setdefault(fit, {}).update(options)

    words = iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        single = re.fullmatch(r"--(\w+_fit)\.options\.([\w.]+)", option)
        mapping = re.fullmatch(r"--(\w+_fit)\.options", option)
        if option != "--config" and not single and not mapping:
            others.append(word)
            continue
        if not equals:
            following = next(words, None)
            if following is None and single:
                raise LtsftError(
                    f"`{word}` is expected to be followed by a value, but is the last."
                )
            value = following or ""
        if single:
            merge(single[1], {single[2]: value})
            continue
        others += [word] if equals else [word, *([] if following is None else [following])]
        if mapping:
            merge(mapping[1], yaml_text.load(value))
        elif Path(value).is_file():
            config = yaml_text.load(Path(value).read_text(encoding="utf-8"))
            for fit in ("language_fit", "task_fit"):
                merge(fit, ((config or {}).get(fit) or {}).get("options"))
    return others, merged


def make_parser() -> OneLineParser:
    """The parser of ``ltsft study``: a :class:`~ltsft.study.config.Study` and how to run it."""
    parser = OneLineParser(
        prog="ltsft study",
        usage="ltsft study CONFIG [--key value ...] [--executor NAME] [--dry-run]",
        description="Run Algorithm 1 from a base model to a table of transfer scores. What is done "
        "already is skipped; a fit that was interrupted goes on from its last checkpoint.",
    )
    parser.add_argument("--config", action="config", help="The study, a YAML file.")
    parser.add_class_arguments(Study)
    parser.add_argument(
        "--executor",
        default="local",
        help="Where jobs run: `local`, or the name of an installed Snakemake executor plugin.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Only print the commands and which are done."
    )
    return parser


def make_study(parser: OneLineParser, config: object) -> Study:
    """Build what was parsed.

    Raises:
        LtsftError: If it cannot be as given.
    """
    try:
        values = parser.instantiate_classes(config)
    except ValueError as error:
        raise own_cause(error) or error from None
    return Study(**{field.name: values[field.name] for field in fields(Study)})


def describe(run: Run) -> str:
    """A run as a comment and a command line."""
    return f"# {run.stage}: {run.name} ({'done' if run.is_done else 'to do'})\n{run.command_line}"


def _run(plan: list[Run], output: Path, jobs: int, executor: str) -> None:
    from ltsft.study.workflow import run_workflow

    todo = [run for run in plan if not run.is_done]
    commands = output / "commands.sh"
    write_text(commands, "".join(f"{run.command_line}\n" for run in plan))
    print(f"{len(todo)} of {len(plan)} runs to do; the commands are in {commands}.", flush=True)
    if again := [f"{run.stage} {run.name}" for run in todo if run.was_another]:
        print(f"Made anew, as what they are made from has changed: {', '.join(again)}.", flush=True)
    begin = time.monotonic()
    if todo:
        try:
            run_workflow(plan, output, jobs=jobs, executor=executor)
        except KeyboardInterrupt:
            print("\nInterrupted. The same command goes on where it was.", flush=True)
            raise
    seconds = round(time.monotonic() - begin)
    print(f"All done in {seconds // 60}:{seconds % 60:02d}.\n")
    print((output / "table" / "table.md").read_text(encoding="utf-8"))
    print(f"Also in {output}/table/table.csv and table.json.")
