"""``ltsft study``: Algorithm 1 from a base model to a table of transfer scores."""

import re
import time
from dataclasses import fields
from pathlib import Path

from ltsft.atomic import write_text
from ltsft.errors import LtsftError
from ltsft.study.config import Study
from ltsft.study.plan import Run, make_plan
from ltsft.terminal.complaints import OneLineParser, own_cause


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
    args, overrides = split_overrides(args)
    config = parser.parse_args(args)
    for fit, options in overrides.items():
        config[fit].options = {**config[fit].options, **options}
    study = make_study(parser, config)
    stem = Path(str(config.config[0])).stem if config.config else "study"
    output = Path(study.output or f"runs/{stem}")
    plan = make_plan(study, str(output))
    if config.dry_run:
        print("\n".join(describe(run) for run in plan))
        return 0
    _run(plan, output, study.jobs, config.executor)
    return 0


def split_overrides(args: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Take single options of the two fits out of a command line.

    Their keys have dots, which the parser would take for levels of nesting.

    Returns:
        The other arguments, and name of the fit -> options.

    Raises:
        LtsftError: If a value is missing.

    Example:
        >>> split_overrides(["a.yaml", "--task_fit.options.sparse.l1", "0.1", "--seed", "1"])
        (['a.yaml', '--seed', '1'], {'task_fit': {'sparse.l1': '0.1'}})
    """
    others: list[str] = []
    overrides: dict[str, dict[str, str]] = {}
    words = iter(args)
    for word in words:
        match = re.fullmatch(r"--(\w+_fit)\.options\.([\w.]+)(?:=(.*))?", word, re.DOTALL)
        if match is None:
            others.append(word)
            continue
        value = next(words, None) if match[3] is None else match[3]
        if value is None:
            raise LtsftError(f"`{word}` is expected to be followed by a value, but is the last.")
        overrides.setdefault(match[1], {})[match[2]] = value
    return others, overrides


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
    begin = time.monotonic()
    if todo:
        run_workflow(plan, output, jobs=jobs, executor=executor)
    seconds = round(time.monotonic() - begin)
    print(f"All done in {seconds // 60}:{seconds % 60:02d}.\n")
    print((output / "table" / "table.md").read_text(encoding="utf-8"))
    print(f"Also in {output}/table/table.csv and table.json.")
