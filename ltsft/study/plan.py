"""The runs that follow from a study, as command lines, and which of them are done."""

import json
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ltsft.data.source import Source
from ltsft.study.command_line import option
from ltsft.study.config import Study, System
from ltsft.study.key import key_of

STAMP = "run.json"
"""In a run's folder, once it has ended well: what was run."""

SFT = "sft/sft.safetensors"
"""Where a fit leaves its result."""


@dataclass(frozen=True)
class Run:
    """One command of a study.

    Args:
        stage: ``pretrain``, ``languages``, ``task``, ``test``, ``predict`` or ``table``.
        name: Short name within the stage.
        command: The command line, word by word; a user may run it by hand.
        folder: Where its results are.
        result: The file, within `folder`, whose presence shows that it ended well.
        needs: Keys of the runs whose results it uses.
        output: The study's folder.
    """

    stage: str
    name: str
    command: list[str]
    folder: str
    result: str
    needs: list[str] = field(default_factory=list)
    output: str = ""

    @property
    def key(self) -> str:
        """Digest of all that decides the result; see :func:`~ltsft.study.key.key_of`."""
        return key_of(self.command, self.output, self.needs)

    @property
    def is_done(self) -> bool:
        """Whether its result is there and is of this very run."""
        stamp = Path(self.folder, STAMP)
        return Path(self.folder, self.result).is_file() and key_in(stamp) == self.key

    @property
    def was_another(self) -> bool:
        """Whether another run has ended in its folder, which it takes the place of."""
        return not self.is_done and key_in(Path(self.folder, STAMP)) is not None

    @property
    def command_line(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.command)

    def to_json(self) -> dict[str, Any]:
        """Primitives, from which ``Run(**...)`` makes an equal one."""
        return asdict(self)


def key_in(path: Path) -> str | None:
    """The key of the run that a file is of; ``None`` where it is missing, or was cut."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("key") if isinstance(content, dict) else None


def make_plan(study: Study, output: str) -> list[Run]:
    """List the runs of a study, each after those that it needs.

    Args:
        study: What to do.
        output: Folder of all results.
    """
    plan = _Plan(output)
    cases: list[dict[str, Any]] = []
    for seed in study.all_seeds:
        # Seeds of everything make studies of their own; those of the task share all before it.
        of_seed = replace(study, seed=seed) if study.vary == "all" else study
        where = [f"seed-{seed}"] if len(study.all_seeds) > 1 and study.vary == "all" else []
        base_model, base = plan.base(of_seed, where)
        for name, system in study.all_systems.items():
            folders = [*([name] if name else []), *where]
            languages = plan.languages(
                of_seed, system, study.all_systems, name, where, base_model, base
            )
            again = [f"seed-{seed}"] if len(study.all_seeds) > 1 and study.vary == "task" else []
            where_task = [*folders, *again]
            case = plan.task(of_seed, system, seed, where_task, languages, base_model, base)
            fits = [run.folder for run in languages.values()]
            cases.append({"system": name, "seed": seed, "languages": fits, **case})
    command = ["python", "-m", "ltsft.study.table", output, "--source", study.source]
    command += ["--targets", *study.targets, *option("cases", cases)]
    needs = [run.key for run in plan.runs if run.stage == "test"]
    return [
        *plan.runs,
        Run("table", "table", command, f"{output}/table", "table.md", needs, output),
    ]


class _Plan:
    """Runs as they are added; what is in a folder is planned once."""

    def __init__(self, output: str) -> None:
        self.output = output
        self._runs: dict[str, Run] = {}

    @property
    def runs(self) -> list[Run]:
        return list(self._runs.values())

    def add(
        self, stage: str, where: list[str], command: list[str], *needs: Run, result: str
    ) -> Run:
        """Add a command that writes to `where` below the output folder; or find it there."""
        folder = "/".join([self.output, *where])
        if folder not in self._runs:
            name = "-".join(part for part in where if part != stage) or stage
            keys = [need.key for need in needs]
            self._runs[folder] = Run(stage, name, command, folder, result, keys, self.output)
        return self._runs[folder]

    def base(self, study: Study, where: list[str]) -> tuple[str, list[Run]]:
        """The base model, and the run that makes it if there is one."""
        if study.pretrain is None:
            return str(study.base_model), []
        folder = "/".join([self.output, *where, "base"])
        command = ["python", "-m", "ltsft.study.pretrain", "--output", folder]
        command += [
            part for key, value in asdict(study.pretrain).items() for part in option(key, value)
        ]
        command += ["--seed", str(study.seed)]
        run = self.add("pretrain", [*where, "base"], command, result="model.safetensors")
        return folder, [run]

    def languages(
        self,
        study: Study,
        system: System,
        systems: dict[str, System],
        name: str,
        where: list[str],
        base_model: str,
        base: list[Run],
    ) -> dict[str, Run]:
        """Fits of all language SFTs of a system, or of the one that it takes them from."""
        owner = system.languages_of or name
        folders = [*([owner] if owner else []), *where]
        fits = (study.language_fit, systems[owner].language_fit)
        arguments = [part for fit in fits for part in fit.arguments(study.seed)]
        runs = {}
        texts = study.texts()
        for language in study.languages_for(owner):
            here = [*folders, "languages", language]
            command = [
                "ltsft",
                "fit",
                *arguments,
                *option("model.init_args.base_model", base_model),
            ]
            command += option("data.init_args.language", language)
            command += option("data.init_args.text", _as_option(texts[language]))
            command += _seeded(study.seed, "/".join([self.output, *here]))
            runs[language] = self.add("languages", here, command, *base, result=SFT)
        return runs

    def task(
        self,
        study: Study,
        system: System,
        seed: int,
        where: list[str],
        languages: dict[str, Run],
        base_model: str,
        base: list[Run],
    ) -> dict[str, Any]:
        """Fit of the task SFT and its tests; returns their folders, the tests' by condition."""
        sft = {language: f"{run.folder}/sft" for language, run in languages.items()}
        data = {
            role: {
                language: _as_option(source) for language, source in study.labelled(role).items()
            }
            for role in ("train", "validation", "test")
        }
        sources = system.sources or [study.source]
        of_others = {source for source in study.sources if source not in sources}
        for role in ("train", "validation"):
            data[role] = {c: said for c, said in data[role].items() if c not in of_others}
        arguments = [*study.task_fit.arguments(seed), *system.task_fit.arguments(seed)]
        arguments += option("model.init_args.base_model", base_model)
        command = ["ltsft", "fit", *arguments]
        needs = [*base]
        if system.over_source:
            placed = {source: sft[source] for source in sources}
            if len(sources) > 1:
                command += option("languages.sfts", placed)
            else:
                command += option("model.init_args.base_sfts", list(placed.values()))
            needs += [languages[source] for source in sources]
        command += option("data.init_args.train", data["train"])
        command += option("data.init_args.validation", data["validation"])
        here = [*where, "task"]
        command += _seeded(seed, "/".join([self.output, *here]))
        task = self.add("task", here, command, *needs, result=SFT)
        tests = {}
        for condition in study.conditions:
            under = languages_under(condition, study.source, study.targets)
            if under is None:
                continue
            needs = [
                *base,
                task,
                *(languages[language] for language in dict.fromkeys(under.values())),
            ]
            # Predictions have no one file whose presence says that all are there; the stamp does.
            results = {"test": "scores.json"} | ({"predict": STAMP} if study.predict else {})
            for subcommand, result in results.items():
                here = [*where, subcommand, condition]
                command = ["ltsft", subcommand, *arguments]
                command += option("model.init_args.base_sfts", [f"{task.folder}/sft"])
                command += option(f"data.init_args.{subcommand}", data["test"])
                if under:
                    placed = {target: sft[under[target]] for target in under}
                    command += option("languages.sfts", placed)
                command += _seeded(seed, "/".join([self.output, *here]))
                self.add(subcommand, here, command, *needs, result=result)
            tests[condition] = "/".join([self.output, *where, "test", condition])
        return {"task": task.folder, "tests": tests}


def _seeded(seed: int, folder: str) -> list[str]:
    """The end of each command line: seeds, and where everything goes."""
    return [
        *("--seed_everything", str(seed)),
        *option("data.init_args.seed", seed),
        *("--trainer.default_root_dir", folder),
    ]


def languages_under(condition: str, source: str, targets: list[str]) -> dict[str, str] | None:
    """Whose language SFT is in place for each target under a condition.

    Returns:
        Target -> language; empty for ``alone``; ``None`` if the condition cannot be (one target has
        no other one).
    """
    if condition == "alone":
        return {}
    if condition == "source":
        return dict.fromkeys(targets, source)
    if condition == "target":
        return {target: target for target in targets}
    if len(targets) < 2:
        return None
    return dict(zip(targets, [*targets[1:], targets[0]], strict=True))


def _as_option(source: Source) -> str | dict[str, Any]:
    """A source as short as can be."""
    default = Source(source.path)
    settings = {
        key: value for key, value in asdict(source).items() if value != getattr(default, key)
    }
    return {"path": source.path, **settings} if settings else source.path
