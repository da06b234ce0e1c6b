"""What a study says."""

import os
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeGuard, get_args

from ltsft.data.source import Source
from ltsft.errors import LtsftError
from ltsft.files import check_language, no_data
from ltsft.study.command_line import option

Condition = Literal["alone", "source", "wrong", "target"]

Where = str | dict[str, Any]
"""Data of several languages: language code -> source, or one source for all, with ``{language}``
in its path standing for the code. A source is a path, or the fields of a
:class:`~ltsft.data.source.Source`, e.g. ``{path: hsb.txt, limit: 1000}``."""

Json = str | int | float | bool | list | dict | None
"""What an option may be. Not `Any`, of which a parser would make objects where it says
``class_path``; that is for the command to do which gets the option."""

_DATA_OPTION = re.compile(r"data\.(?:init_args\.)?(text|train|validation|test)\b")
_RESERVED = ("base", "languages", "task", "test", "predict", "table", "stages", "logs")


@dataclass
class Fit:
    """How to fit, as one would say it on the command line of ``ltsft fit``.

    Args:
        configs: Config files, left to right; paths are relative to where ``ltsft`` is called.
        options: Further options, which win over the files, e.g. ``{sparse.budget.density: 0.1}``.
            ``{seed}`` in a value stands for the seed of the run.
    """

    configs: list[str] = field(default_factory=list)
    options: dict[str, Json] = field(default_factory=dict)

    def arguments(self, seed: int) -> list[str]:
        """The part of a command line that says this; what comes later in it wins.

        Args:
            seed: Seed of the run.
        """
        args = [part for config in self.configs for part in ("--config", config)]
        # A class has to be named before its options, in whatever order they are written.
        options = sorted(self.options.items(), key=lambda item: "." in item[0])
        words = [word for key, value in options for word in option(key, value)]
        return args + [word.replace("{seed}", str(seed)) for word in words]


@dataclass
class System:
    """One way of training in a comparison: what differs from the study's own fits.

    Args:
        language_fit: Configs and options of language fits, after those of the study.
        task_fit: Configs and options of task fits, after those of the study.
        sources: Source languages of the task, where they are other than the study's one. Of several
            each batch is of one, over that one's language fine-tuning (§4.4).
        languages_of: Another system whose language fine-tunings are taken, instead of training its
            own: for systems that differ in the task alone.
        over_source: Train the task over the source's language fine-tuning; ``False`` is an
            ablation. (A task-only system in the sense of Ansell et al., 2022, is no system of its
            own: it is the same task part, tested alone.)
    """

    language_fit: Fit = field(default_factory=Fit)
    task_fit: Fit = field(default_factory=Fit)
    sources: list[str] = field(default_factory=list)
    languages_of: str | None = None
    over_source: bool = True


@dataclass
class Pretraining:
    """A tiny BERT, pretrained on built-in artificial languages, in place of a base model.

    The defaults are those of the quickstart, which takes half a minute on one core.

    Args:
        languages: Built-in languages whose text the model sees, mixed.
        num_sentences: Sentences of each.
        max_steps: Optimizer steps.
        batch_size: Blocks per step.
        max_length: Tokens per block, special tokens included. Short ones teach word order soonest.
        max_positions: The model's longest input, tokens.
        mask_probability: Share of tokens to predict; 0.25 gives more signal a step than 0.15.
        learning_rate: Of AdamW, linear to 0.
        vocab_size: Pieces of the tokenizer, at the most; it knows all languages of the family.
        hidden_size: Width; a quarter of it in each attention head, twice of it in the feed-forward.
        num_layers: Layers.
    """

    languages: list[str]
    num_sentences: int = 2000
    max_steps: int = 900
    batch_size: int = 85
    max_length: int = 12
    max_positions: int = 64
    mask_probability: float = 0.25
    learning_rate: float = 3e-3
    vocab_size: int = 1000
    hidden_size: int = 64
    num_layers: int = 2


@dataclass
class Study:
    """Algorithm 1 for one source language, one task, and several target languages.

    A language SFT is trained for the source and for each target on raw text, a task SFT on the
    source's labelled data over the source's language SFT; the task SFT is then tested on each
    target alone, with the source's language SFT, with a wrong one (the next target's in the list)
    and with the target's own (Ansell et al., 2022, §3.2). Everything is chosen on data of the
    source language: labelled data of a target may only be tested on.

    Args:
        source: Language code of the source.
        targets: Language codes of the targets.
        text: Raw text of source and targets.
        train: Labelled training data; without languages it is the source's.
        validation: Labelled validation data; without languages it is the source's.
        test: Labelled test data of the targets.
        language_fit: How language SFTs are trained.
        task_fit: How the task SFT is trained.
        systems: Systems to compare, by name; without any there is one, the study's own fits.
        base_model: Pretrained model, a folder or a name on the hub; or leave it to `pretrain`.
        pretrain: Settings of a tiny base model that the study pretrains itself.
        output: Folder of all results; by default ``runs/`` and the name of the config file.
        conditions: Whose language fine-tuning is under the task's in the tests: nobody's
            (``alone``), the ``source``'s, a ``wrong`` one's, the ``target``'s own.
        predict: Write predictions of each test as well, to ``predict/``, for ``ltsft compare``.
        few_shot: Allow labelled data of targets in `train` and `validation`.
        seed: Seed of everything random, and of the family of built-in languages.
        seeds: Several seeds, each of a run of its own; the table shows mean and standard deviation.
            Without any, `seed` alone.
        vary: What each of `seeds` is a seed of: ``all``, or the fits of the ``task`` alone, over
            the same base model and language fine-tunings.
        jobs: Processes at a time; the languages are divided over them. Each has its own copy of the
            model in memory, on the GPU if there is one.
    """

    source: str
    targets: list[str]
    text: Where
    train: Where
    validation: Where
    test: Where
    language_fit: Fit
    task_fit: Fit
    systems: dict[str, System] = field(default_factory=dict)
    base_model: str | None = None
    pretrain: Pretraining | None = None
    output: str | None = None
    conditions: list[Condition] = field(default_factory=lambda: list(get_args(Condition)))
    predict: bool = False
    few_shot: bool = False
    seed: int = 0
    seeds: list[int] = field(default_factory=list)
    vary: Literal["all", "task"] = "all"
    jobs: int = 1

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise LtsftError(f"`jobs` is expected to be 1 or more, but got {self.jobs}.")
        if (self.base_model is None) == (self.pretrain is None):
            which = "neither" if self.base_model is None else "both"
            raise LtsftError(
                f"a study is expected to have either `base_model` or `pretrain`, but got {which}."
            )
        if not self.targets or len(set(self.languages)) < len(self.languages):
            raise LtsftError(
                "`targets` is expected to list different languages, at least one, without the "
                f"source {', '.join(self.sources)}, but got {', '.join(self.targets) or 'none'}."
            )
        for language in self.languages:
            check_language(language, "targets" if language in self.targets else "source")
        self._check_comparison()
        self._check_discipline()

    @property
    def sources(self) -> list[str]:
        """All languages that some system is trained on."""
        more = [source for system in self.systems.values() for source in system.sources]
        return list(dict.fromkeys([self.source, *more]))

    @property
    def languages(self) -> list[str]:
        """Sources and targets."""
        return [*self.sources, *self.targets]

    @property
    def all_systems(self) -> dict[str, System]:
        """Systems by name; a study without any has one, whose name is empty."""
        return self.systems or {"": System()}

    @property
    def all_seeds(self) -> list[int]:
        """One seed or several."""
        return self.seeds or [self.seed]

    def languages_for(self, name: str) -> list[str]:
        """Languages that the fits of a system, and of those that take its languages, need."""
        sharing = [s for n, s in self.all_systems.items() if (s.languages_of or n) == name]
        sources = [source for system in sharing for source in system.sources]
        return list(dict.fromkeys([self.source, *sources, *self.targets]))

    def texts(self) -> dict[str, Source]:
        """Raw text by language."""
        return self._sources("text", self.text, self.languages)

    def labelled(self, role: str) -> dict[str, Source]:
        """Labelled data by language: `role` is ``train``, ``validation`` or ``test``."""
        where = getattr(self, role)
        if role == "test":
            return self._sources(role, where, self.targets)
        return self._sources(role, where, list(where) if _is_by_language(where) else self.sources)

    def _sources(self, role: str, where: Where, languages: list[str]) -> dict[str, Source]:
        if _is_by_language(where):
            if missing := [language for language in languages if language not in where]:
                raise LtsftError(
                    f"`{role}` is expected to have data of {', '.join(languages)}, but has none of "
                    f"{', '.join(missing)}."
                )
            sources = {language: _source(role, where[language]) for language in languages}
        else:
            source = _source(role, where)
            if len(languages) > 1 and "{language}" not in source.path:
                raise LtsftError(
                    f"`{role}` is expected to have a path with `{{language}}` in it, or a mapping "
                    f"from language to source, but got {source.path!r} for {len(languages)} "
                    "languages."
                )
            sources = {
                language: replace(source, path=source.path.replace("{language}", language))
                for language in languages
            }
        return {
            language: replace(source, seed=self.seed) if source.is_artificial else source
            for language, source in sources.items()
        }

    def check_files(self) -> None:
        """Look whether the data are there: the last of them is read after days of training.

        Raises:
            LtsftError: If a file is not.
        """
        roles = {role: self.labelled(role) for role in ("train", "validation", "test")}
        for role, sources in ({"text": self.texts()} | roles).items():
            for language, source in sources.items():
                if source.is_missing:
                    raise no_data(f"{role}.{language}", source.path)

    def _check_comparison(self) -> None:
        if len(set(self.seeds)) < len(self.seeds):
            raise LtsftError(
                f"`seeds` is expected to list different numbers, but got {self.seeds}."
            )
        for name, system in self.systems.items():
            if not re.fullmatch(r"[\w.+-]+", name) or name in _RESERVED:
                raise LtsftError(
                    "`systems` is expected to have names of letters, digits and . + - _, other "
                    f"than {', '.join(_RESERVED)}, but got {name!r}; folders are called so."
                )
            other = self.systems.get(system.languages_of or name)
            if other is None or (system.languages_of and other.languages_of):
                raise LtsftError(
                    f"`systems.{name}.languages_of` is expected to be a system that trains its own "
                    f"languages, but got {system.languages_of!r}."
                )

    def _check_discipline(self) -> None:
        """Refuse whatever would make the transfer less than zero-shot."""
        fits = {fit: getattr(self, fit) for fit in ("language_fit", "task_fit")}
        for name, system in self.systems.items():
            fits[f"systems.{name}.language_fit"] = system.language_fit
            fits[f"systems.{name}.task_fit"] = system.task_fit
        for name, fit in fits.items():
            for key in fit.options:
                if match := _DATA_OPTION.match(key):
                    raise LtsftError(
                        f"`{name}.options` is expected to leave data alone, but sets `{key}`; "
                        f"say it under `{match[1]}`, where it is checked."
                    )
        if self.few_shot:
            return
        tested = {_data_of(source): target for target, source in self.labelled("test").items()}
        for role in ("train", "validation"):
            for language, source in self.labelled(role).items():
                target = language if language in self.targets else tested.get(_data_of(source))
                if target:
                    raise LtsftError(
                        f"`{role}` is expected to have no labelled data of the target {target} "
                        "(transfer is zero-shot, and everything is chosen on the source language), "
                        f"but has {source.path}; remove it, or set `few_shot: true`."
                    )


def _is_by_language(where: Where) -> TypeGuard[dict[str, Any]]:
    return isinstance(where, dict) and "path" not in where


def _source(role: str, value: Any) -> Source:
    """Build a source that was given as a path or by its fields."""
    if isinstance(value, str | Source):
        return Source.of(value)
    try:
        return Source(**value)
    except TypeError as error:  # no mapping, another key, a limit that is no number
        keys = ", ".join(f"`{source_field.name}`" for source_field in fields(Source))
        raise LtsftError(
            f"`{role}` is expected to be a path, a source with some of the keys {keys}, or a "
            f"mapping from language to these, but got {value!r}."
        ) from error


def _data_of(source: Source) -> tuple[str, str | None]:
    """What a source is part of, whatever the split and however its path is written."""
    path = source.path
    return (path if source.is_artificial else os.path.realpath(path)), source.config
