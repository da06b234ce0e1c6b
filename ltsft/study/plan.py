"""The runs that follow from a study, as command lines, and which of them are done."""

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ltsft.data.source import Source
from ltsft.study.config import Fit, Study

STAMP = "run.json"
"""In a run's folder, once it has ended well: what was run."""

CONDITIONS = ("alone", "source", "wrong", "target")
"""Whose language SFT is under the task SFT in a test: nobody's, the source's, the next target's,
the target's own."""


@dataclass(frozen=True)
class Run:
    """One command of a study.

    Args:
        stage: ``pretrain``, ``languages``, ``task``, ``test`` or ``table``.
        name: Short name within the stage.
        command: The command line, word by word; a user may run it by hand.
        folder: Where its results are.
        result: The file, within `folder`, whose presence shows that it ended well.
        needs: Keys of the runs whose results it uses.
    """

    stage: str
    name: str
    command: list[str]
    folder: str
    result: str
    needs: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Digest of all that decides the result: command, files it reads, runs before it."""
        said = json.dumps([self.command, _fingerprints(self.command), self.needs])
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    @property
    def is_done(self) -> bool:
        """Whether its result is there and was made by this very command from these very files."""
        stamp = Path(self.folder, STAMP)
        if not (stamp.is_file() and Path(self.folder, self.result).is_file()):
            return False
        return json.loads(stamp.read_text(encoding="utf-8")).get("key") == self.key

    @property
    def command_line(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.command)

    def to_json(self) -> dict[str, Any]:
        """Primitives, from which ``Run(**...)`` makes an equal one."""
        return asdict(self)


def make_plan(study: Study, output: str) -> list[Run]:
    """List the runs of a study, each after those that it needs.

    Args:
        study: What to do.
        output: Folder of all results.
    """
    runs: list[Run] = []
    seed = ["--seed_everything", str(study.seed), *option("data.init_args.seed", study.seed)]

    def add(stage: str, name: str, command: list[str], *needs: Run, result: str) -> Run:
        folder = f"{output}/{stage}/{name}" if name else f"{output}/{stage}"
        run = Run(stage, name or stage, command, folder, result, [need.key for need in needs])
        runs.append(run)
        return run

    base_model, base = study.base_model, []
    if study.pretrain is not None:
        base_model = f"{output}/base"
        command = ["python", "-m", "ltsft.study.pretrain", "--output", base_model]
        command += [
            part for key, value in asdict(study.pretrain).items() for part in option(key, value)
        ]
        command += ["--seed", str(study.seed)]
        base = [Run("pretrain", "base", command, base_model, "model.safetensors")]
        runs += base
    model = option("model.init_args.base_model", base_model)

    def fit(stage: str, name: str, how: Fit, options: list[str], *needs: Run) -> Run:
        folder = f"{output}/{stage}/{name}" if name else f"{output}/{stage}"
        command = ["ltsft", "fit", *how.arguments(), *model, *options, *seed]
        command += ["--trainer.default_root_dir", folder]
        return add(stage, name, command, *base, *needs, result="sft/sft.safetensors")

    languages = {
        language: fit(
            "languages",
            language,
            study.language_fit,
            [
                *option("data.init_args.language", language),
                *option("data.init_args.text", _said(text)),
            ],
        )
        for language, text in study.texts().items()
    }
    sft = {language: f"{run.folder}/sft" for language, run in languages.items()}

    data = {
        role: {language: _said(source) for language, source in study.labelled(role).items()}
        for role in ("train", "validation", "test")
    }
    task = fit(
        "task",
        "",
        study.task_fit,
        [
            *option("model.init_args.base_sfts", [sft[study.source]]),
            *option("data.init_args.train", data["train"]),
            *option("data.init_args.validation", data["validation"]),
        ],
        languages[study.source],
    )
    tests = []
    for condition in CONDITIONS:
        under = languages_under(condition, study.source, study.targets)
        if under is None:
            continue
        folder = f"{output}/test/{condition}"
        command = ["ltsft", "test", *study.task_fit.arguments(), *model]
        command += option("model.init_args.base_sfts", [f"{task.folder}/sft"])
        command += option("data.init_args.test", data["test"])
        if under:
            command += option("languages.sfts", {target: sft[under[target]] for target in under})
        command += [*seed, "--trainer.default_root_dir", folder]
        needs = [languages[language] for language in dict.fromkeys(under.values())]
        tests.append(add("test", condition, command, *base, task, *needs, result="scores.json"))
    command = ["python", "-m", "ltsft.study.table", output, "--source", study.source]
    command += ["--targets", *study.targets]
    runs.append(
        Run("table", "table", command, f"{output}/table", "table.md", [t.key for t in tests])
    )
    return runs


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


def option(key: str, value: Any) -> list[str]:
    """An option on a command line; what is no string goes as JSON, which is YAML too.

    Example:
        >>> option("sparse.budget.density", 0.1), option("data.train", {"en": "en.conllu"})
        (['--sparse.budget.density', '0.1'], ['--data.train', '{"en": "en.conllu"}'])
    """
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [f"--{key}", said]


def _said(source: Source) -> str | dict[str, Any]:
    """A source as short as can be."""
    default = Source(source.path)
    said = {key: value for key, value in asdict(source).items() if value != getattr(default, key)}
    return {"path": source.path, **said} if said else source.path


def _fingerprints(command: list[str]) -> dict[str, list[int]]:
    """Size and time of change of the files that a command names: configs, data."""
    found = {}
    for word in sorted({leaf for part in command for leaf in _leaves(part)}):
        if len(word) < 4096 and "\0" not in word and Path(word).is_file():
            status = Path(word).stat()
            found[word] = [status.st_size, status.st_mtime_ns]
    return found


def _leaves(said: Any) -> list[str]:
    """All strings in an argument, which may be JSON."""
    if isinstance(said, dict | list):
        values = said.values() if isinstance(said, dict) else said
        return [leaf for value in values for leaf in _leaves(value)]
    if not isinstance(said, str):
        return []
    if said[:1] in ("{", "["):
        try:
            return _leaves(json.loads(said))
        except json.JSONDecodeError:
            pass  # a path that begins with a bracket
    return [said]
