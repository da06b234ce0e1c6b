"""LightningCLI around tasks, data and the phases of a sparse fine-tuning."""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

import ltsft.data
import ltsft.sparse
import ltsft.tasks
from ltsft.atomic import only_one, write_text
from ltsft.callbacks import (
    LanguageSfts,
    Phase,
    PhaseProgressBar,
    SaveOnSignal,
    SparseMaskCallback,
    UntilSettled,
    WholeCheckpointIO,
)
from ltsft.data.base import DataModule
from ltsft.data.serving.sampling import unshard
from ltsft.errors import LtsftError
from ltsft.modules.adapters.adapters import Adapters
from ltsft.sparse import Budget, ScopeRules, Selection, current_ranks
from ltsft.tasks import Task
from ltsft.terminal.checkpoint import (
    check_agreement,
    check_same_start,
    hyperparameters,
)
from ltsft.terminal.complaints import OneLineParser, own_cause
from ltsft.terminal.csv_log import GoOn, SaveConfigAtStart
from ltsft.terminal.early import FOUND_BY_LIGHTNING
from ltsft.terminal.going_on import to_go_on_from
from ltsft.terminal.leftovers import Leftovers, usual_savers
from ltsft.terminal.loggers import csv_log, with_save_dir
from ltsft.terminal.output import score_table, written
from ltsft.terminal.refusals import refused, refused_by_trainer

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": -1,  # lengths belong to the phases, not to the Trainer
    "max_steps": -1,
    "use_distributed_sampler": False,  # the samplers of ltsft.data shard themselves
    "gradient_clip_val": 1.0,  # as in the authors' scripts
}


def _classes_in(room: ModuleType, *bases: type) -> list[type]:
    names = (getattr(room, name) for name in room.__all__)
    return [cls for cls in names if isinstance(cls, type) and issubclass(cls, bases)]


# Imported by that, so that the parser knows short names: `--model Tagger --data TaggingData`.
CLASSES = [*_classes_in(ltsft.tasks, Task), *_classes_in(ltsft.data, LightningDataModule)]
SELECTIONS = [cls for cls in _classes_in(ltsft.sparse, Selection) if cls is not Selection]


class Parser(OneLineParser, LightningArgumentParser):
    """Lightning's parser, with complaints on one line."""

    class_names: ClassVar[dict[str, list[str]]] = {
        "model": [cls.__name__ for cls in CLASSES if issubclass(cls, Task) and cls is not Task],
        "data": [cls.__name__ for cls in CLASSES if issubclass(cls, LightningDataModule)],
        "sparse.selection": [cls.__name__ for cls in SELECTIONS],
    }
    option_classes: ClassVar[dict[str, type]] = {
        "sparse.budget": Budget,
        "sparse.dense": Phase,
        "sparse.sparse": Phase,
        "sparse.until_settled": UntilSettled,
        "sparse.scope": ScopeRules,
        "model.adapters": Adapters,
    }


class SftCLI(LightningCLI):
    """LightningCLI with the two phases under ``sparse:`` and languages' SFTs under ``languages:``.

    Both callbacks have keys of their own, so that a config with ``trainer.callbacks`` cannot lose
    them. All four commands understand all keys: the config of a fit also serves to test.

    With ``trainer.default_root_dir`` everything about a fit lies in that folder: ``fit.yaml``,
    ``sft/``, ``checkpoints/``, ``metrics.csv``. Without it, in ``runs/version_0`` and so on.

    Args:
        args: Command and its arguments.
        run: Run the command; ``False`` only builds model, data and trainer.
    """

    def __init__(self, args: list[str], run: bool = True) -> None:
        self._fitting = args[:1] == ["fit"]
        self._run = run
        super().__init__(
            Task,
            LightningDataModule,
            save_config_callback=SaveConfigAtStart,
            save_config_kwargs={"overwrite": True, "config_filename": f"{args[0]}.yaml"},
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={"prog": "ltsft"},
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=args,
            auto_configure_optimizers=False,
        )

    # ------------------------------------------------------------------ what can be configured

    @override
    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in TRAINER_DEFAULTS.items()})
        # Not required, because a checkpoint that is tested brings its own.
        parser.add_lightning_class_args(Task, "model", subclass_mode=True, required=False)
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
        # A file that an option names is data, never a config to be read in its place: of a corpus
        # that happens to be YAML, the data module would get the text for a path.
        for action in parser._actions:
            if action.dest in ("model", "data"):
                action.sub_add_kwargs["sub_configs"] = False  # type: ignore[attr-defined]

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(SparseMaskCallback, "sparse")
        parser.add_lightning_class_args(LanguageSfts, "languages")
        parser.add_argument(
            "--keep_checkpoints",
            type=bool,
            default=False,
            help="Keep the checkpoints of a fit that are there to go on from, once its fine-tuning "
            "is written; each is larger than the model.",
        )
        parser.link_arguments("model.init_args.base_model", "data.init_args.tokenizer")
        # A fit takes the labels from the data. Whatever is scored has labels of its own, and only
        # those that were asked for explicitly are compared with them.
        labels = "model.init_args.labels"
        if self._fitting:
            parser.link_arguments("data.labels", labels, apply_on="instantiate")
        else:
            parser.link_arguments("data.init_args.labels", labels)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(with_save_dir(args))

    # ------------------------------------------------------------------ building

    @override
    def _parse_ckpt_path(self) -> None:
        """Take the model from the checkpoint when scoring, and refuse options it contradicts.

        Lightning's own method lets the checkpoint silently override the model's options, in a
        resumed fit too.
        """
        config = self.config[self.config.subcommand]
        path = config.get("ckpt_path")
        if self._fitting:
            path = config.ckpt_path = to_go_on_from(path, config.trainer)
        if self._fitting and path in FOUND_BY_LIGHTNING:
            path = None
        saved = {} if path is None else hyperparameters(path)
        if self._fitting and path is not None and config.model is not None:
            check_same_start(config.model, saved)
        self._checkpoint = None if self._fitting else path
        if self._checkpoint:
            if config.model is not None:
                check_agreement(config.model, saved)
            elif "tokenizer" in config.data.get("init_args", {}):
                config.data.init_args.tokenizer = saved.get("base_model", "")
            config.model = None
        elif config.model is None:
            raise LtsftError(
                "`model` is expected to be a task, but got none; name one (`--model Tagger`, or a "
                "`--config` that does)."
            )

    @override
    def instantiate_classes(self) -> None:
        try:
            self.config_init = self.parser.instantiate_classes(self.config)
        except (ValueError, TypeError) as error:
            options = self.config[self.config.subcommand]
            raise own_cause(error) or refused(error, options) from error
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")
        if self._checkpoint:
            self.model = Task.load_from_checkpoint(self._checkpoint)
        self._check_labels()
        self.trainer = self.instantiate_trainer()

    def _check_labels(self) -> None:
        """Refuse raw text for a task with labels, and the other way round."""
        needs = getattr(self.model, "labels", None) is not None
        has = getattr(self.datamodule, "takes_labels", needs)  # a user's own data may not say
        if needs != has:
            raise LtsftError(
                f"`data` is expected to have {'labels' if needs else 'raw text'} for "
                f"{type(self.model).__name__}, but {type(self.datamodule).__name__} has "
                f"{'labels' if has else 'raw text'}; name another data class, or another `model`."
            )

    def _check_head(self) -> None:
        """Refuse to score or predict by a head that nobody trained."""
        untrained = getattr(self.model, "untrained", [])
        if untrained:
            raise LtsftError(
                "`model.init_args.base_sfts` is expected to bring the head of the task, but "
                f"`{untrained[0]}` has random values; name the task's fine-tuning "
                "(`--model.base_sfts '[runs/pos-en]'`), or a checkpoint (`--ckpt_path`)."
            )

    def _check_predicts(self) -> None:
        """Refuse data for which no predictions can be written, before any are made."""
        method = getattr(type(self.datamodule), "save_predictions", DataModule.save_predictions)
        if method is DataModule.save_predictions:
            raise LtsftError(
                f"`data` is expected to be of a task whose predictions can be written, but got "
                f"{type(self.datamodule).__name__}; `ltsft test` scores a language's model."
            )

    @override
    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        root = config["default_root_dir"]
        if root is not None and Path(root).is_file():
            raise LtsftError(
                f"`trainer.default_root_dir` is expected to be a folder, but {root} is a file."
            )
        users = _as_list(config["callbacks"])
        if config["logger"] in (None, True):
            config["logger"] = csv_log(root) if self._fitting else False
        if self._fitting:
            keep = self._get(self.config_init, "keep_checkpoints")
            callbacks = [GoOn(), *callbacks, Leftovers(keep)]  # before ours log anything
            callbacks += [*usual_savers(config, users), SaveOnSignal()]
            plugins = _as_list(config["plugins"])
            if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
                config["plugins"] = [*plugins, WholeCheckpointIO()]
            for callback in callbacks:
                if isinstance(callback, SparseMaskCallback) and callback.output_dir is None:
                    callback.output_dir = root  # whatever the logger
        else:
            callbacks = [c for c in callbacks if not isinstance(c, SparseMaskCallback)]
        if not (self._fitting or any(isinstance(callback, Checkpoint) for callback in users)):
            config["enable_checkpointing"] = False
        if config["enable_progress_bar"] is not False and not any(
            isinstance(callback, ProgressBar) for callback in users
        ):
            callbacks = [*callbacks, PhaseProgressBar()]
        try:
            return super()._instantiate_trainer(config, callbacks)
        except Exception as error:  # whatever Lightning raises for accelerators it does not find
            raise refused_by_trainer(error, config) from error

    # ------------------------------------------------------------------ running

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        if self._run:
            if not (self._fitting or self._checkpoint):
                self._check_head()
            if subcommand == "predict":
                self._check_predicts()
            with self._folder_of_its_own():
                super()._run_subcommand(subcommand)

    def _folder_of_its_own(self) -> AbstractContextManager[None]:
        """Keep other fits out of the folder, as long as this one runs."""
        root = self._get(self.config, "trainer.default_root_dir")
        if not self._fitting or root is None or not self.trainer.is_global_zero:
            return nullcontext()
        return only_one(Path(root), "fit", "`trainer.default_root_dir`")

    def validate(self, model: LightningModule, **options: Any) -> None:
        """Score the validation data; see :meth:`test`."""
        self._score(self.trainer.validate(model, **options | {"verbose": False}))

    def test(self, model: LightningModule, **options: Any) -> None:
        """Score the test data; print a table and write ``scores.json``."""
        self._score(self.trainer.test(model, **options | {"verbose": False}))

    def predict(self, model: LightningModule, **options: Any) -> None:
        """Write predictions, one file per language in the format of the data's field."""
        batches = self.trainer.predict(model, **options | {"return_predictions": True}) or []
        languages = self.datamodule.evaluation_languages("predict")
        per_language = [batches] if len(languages) == 1 else batches
        for language, of_language in zip(languages, per_language, strict=True):
            shards = current_ranks().gather([p for batch in of_language for p in batch])
            predictions = unshard(shards)
            if self.trainer.is_global_zero:
                folder = Path(self.trainer.default_root_dir) / "predictions"
                before = set(folder.glob("*"))
                path = self.datamodule.save_predictions(language, predictions, folder)
                print(written(path, replaced=path in before))
                sources = getattr(self.datamodule, "sources", {}).get("predict", {})
                if len(places := sources.get(language, [])) > 1:
                    print(f"It holds, in this order: {', '.join(place.path for place in places)}.")

    def _score(self, results: list[Any]) -> None:
        scores = {name: float(value) for result in results for name, value in result.items()}
        if self.trainer.is_global_zero:
            print(score_table(scores))
        self._write("scores.json", json.dumps(scores, indent=2) + "\n")

    @rank_zero_only
    def _write(self, name: str, text: str) -> None:
        path = Path(self.trainer.default_root_dir) / name
        replaced = path.exists()
        write_text(path, text)
        print(written(path, replaced=replaced))


def _as_list(value: Any) -> list[Any]:
    """What a Trainer takes alone, several of, or none."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
