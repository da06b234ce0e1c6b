"""What all tasks share: the pretrained model, its fine-tunings, optimizer, scores, checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import Metric
from transformers import PreTrainedModel
from typing_extensions import override

from ltsft.batch import Batch
from ltsft.errors import LtsftError
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.slot import SlotName
from ltsft.sparse import ScopeRules, SparseFineTuning
from ltsft.sparse.scope import owned_by
from ltsft.tasks.checkpoints import load_task
from ltsft.tasks.encoder import (
    Json,
    build_encoder,
    check_inputs,
    config_values,
    is_inside,
    load_encoder,
)
from ltsft.tasks.global_mean import GlobalMean
from ltsft.tasks.labels import settle_labels
from ltsft.tasks.loss import SummedLoss
from ltsft.tasks.schedule import linear_to_zero
from ltsft.tasks.trained_slot import TrainedSlot

_CLASS_OF_TASK = {
    "pos": "Tagger",
    "ner": "Tagger",
    "dp": "Parser",
    "nli": "SentenceClassifier",
    "qa": "QuestionAnswering",
}
"""Name of a task -> the class in this room that gives it; users may give others."""


class Task(GlobalMean, ABC):
    """A pretrained model with the head of a task, trained by AdamW with a rate that falls to 0.

    It knows nothing of phases and masks; it only says, for the callback that does, which of its
    parameters are which (:meth:`scope_rules`) and what is trained (:meth:`sft_metadata`).

    A subclass names an ``AutoModelFor...`` class in :attr:`auto_class`, calls :meth:`_build` at the
    end of its constructor, and implements :meth:`training_loss`, :meth:`make_metrics` and
    :meth:`evaluate`. Batches are as :mod:`ltsft.batch` says. Validation scores, over all
    languages together, are logged as ``val_<metric>``; test scores, one per language, as
    ``test_<metric>/<language>``.

    Args:
        base_model: Pretrained model: a folder, or a name on the hub. Always loaded in float32.
        base_sfts: Sparse fine-tunings to put on the pretrained model first, in this order, each a
            folder, a file or ``user/repo[@revision]``: the source language's to train a task; the
            task's to test it.
        revision: Revision of `base_model` on the hub; by default the newest.
        language: Language code to note in the fine-tuning; by default the languages of the batches
            it was trained on.
        learning_rate: Rate at the first step, from which it falls linearly to 0 at the last,
            without warm-up. The default is the paper's for all tasks but NLI, which has 2e-5.
        weight_decay: AdamW's decoupled weight decay per step, times the rate; 0 in the authors'
            scripts.
        adapters: Train an adapter and the head, and nothing else (MAD-X 2.0): a task's, over the
            language's that `base_sfts` brings; in masked language modelling a language's, and no
            head. With ``sparse.selection: NoEntries``. By default there are no adapters.
        model_config: Filled in by checkpoints, which bring the model's configuration so that they
            load without `base_model` and `base_sfts`; leave it out.

    Raises:
        LtsftError: If the model or a fine-tuning does not exist, or they do not fit.
    """

    auto_class: ClassVar[Any]
    """``AutoModelFor...`` class of transformers that says which head the model gets."""

    monitor: str = "val_loss"
    """The metric that the best weights are chosen by."""

    monitor_mode: Literal["min", "max"] = "min"
    """Which values of :attr:`monitor` are best."""

    task_name: str
    """What the fine-tuning is said to be for, e.g. ``pos``."""

    trained_slot: ClassVar[SlotName] = "task"
    """Which adapter is trained, where there are adapters."""

    model: PreTrainedModel
    labels: list[str] | None = None

    untrained: list[str]
    """Parameters that have random values until they are trained: the head of no fine-tuning."""

    def __init__(
        self,
        base_model: str,
        base_sfts: list[str] | str | None = None,
        revision: str | None = None,
        language: str | None = None,
        learning_rate: float = 5e-5,
        weight_decay: float = 0.0,
        adapters: Adapters | None = None,
        model_config: dict[str, Json] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.base_model = base_model
        self.base_sfts = [base_sfts] if isinstance(base_sfts, str) else list(base_sfts or [])
        self.revision = revision
        self.language = language
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        # A checkpoint brings primitives.
        self.adapters = Adapters(**adapters) if isinstance(adapters, Mapping) else adapters
        self._adapter: TrainedSlot | None = None
        self._model_config = model_config
        self._languages: dict[str, None] = {}  # trained on, in order
        self._made_here: set[str] = set()  # parameters of a head that no pretrained model has
        # Not a ModuleDict: made anew for each evaluation, and no part of checkpoints.
        self._scores: dict[str, dict[str, Metric]] = {}

    # ------------------------------------------------------------------ the model

    def _build(self, labels: list[str] | None = None, *, labelled: bool = False) -> None:
        """Load the model, put :attr:`base_sfts` in place, and settle the labels.

        Args:
            labels: The label names that were asked for.
            labelled: Whether the head has an output per label.
        """
        config = self._model_config
        # The weights in a checkpoint have the fine-tunings in them.
        sfts = [] if config else [SparseFineTuning.from_pretrained(name) for name in self.base_sfts]
        options: dict[str, Any] = {}
        if labelled:
            self.labels = self._settle_labels(labels, sfts)
            options["id2label"] = dict(enumerate(self.labels))
            options["label2id"] = {label: id for id, label in enumerate(self.labels)}
        self.model, self._fresh = (
            build_encoder(self.auto_class, config)
            if config
            else load_encoder(self.auto_class, self.base_model, self.revision, **options)
        )
        self.revision = getattr(self.model.config, "_commit_hash", None) or self.revision
        self._prepare_model()
        if self.adapters is not None:
            self._adapter = TrainedSlot(
                self.model, self.adapters, self.trained_slot, self.stays_beside_adapters
            )
            self._fresh |= self._adapter.parameters.keys()
        heads: set[str] = set()
        for name, sft in zip(self.base_sfts, sfts, strict=False):
            self._check_task(name, sft)
            takes_head = self.takes_head_of(sft)
            sft.apply(self.model, whole=None if takes_head else False)
            heads |= sft.whole.keys() if takes_head else set()
        slots = self._adapter.parameters.keys() if self._adapter else set()
        fresh = sorted((self._fresh | self._made_here) - heads - slots)
        self.untrained = [name for name in fresh if self.model.get_parameter(name).requires_grad]
        # Pretrained models arrive in evaluation mode, and Lightning leaves modes as they are: in a
        # fit there would be no dropout.
        self.model.train()

    def _prepare_model(self) -> None:
        """Change the model before fine-tunings are put in place; nothing to change by default."""

    def stays_beside_adapters(self, parameter: str) -> bool:
        """Whether a parameter is fixed where an adapter trains: what is pretrained but the head."""
        return is_inside(parameter, self.model) and parameter not in self._fresh

    def takes_head_of(self, sft: SparseFineTuning) -> bool:
        """Whether the whole tensors of a fine-tuning belong to this task."""
        return sft.metadata.head != "language"

    def _check_task(self, name: str, sft: SparseFineTuning) -> None:
        """Refuse another task's fine-tuning, whose head would not be, or be taken for, this one's.

        Raises:
            LtsftError: If it is of a task that another class is for.
        """
        owner = _CLASS_OF_TASK.get(sft.metadata.task or "")
        if owner and owner not in (cls.__name__ for cls in type(self).__mro__):
            raise LtsftError(
                f"`model.init_args.base_sfts` is expected to be of languages or of this task, but "
                f"{name} is of the task {sft.metadata.task}, which {owner} does and "
                f"{type(self).__name__} does not; name another, or set `--model {owner}`."
            )

    def _settle_labels(self, labels: list[str] | None, sfts: list[SparseFineTuning]) -> list[str]:
        inventories: dict[str, list[str]] = {}
        if self._model_config:
            names = cast(dict[str, str], self._model_config["id2label"])
            inventories["the checkpoint"] = [names[id] for id in sorted(names, key=int)]
        for name, sft in zip(self.base_sfts, sfts, strict=False):
            if sft.metadata.labels is not None:
                of = f" (of the task {sft.metadata.task})" if sft.metadata.task else ""
                inventories[f"`model.init_args.base_sfts` {name}{of}"] = list(sft.metadata.labels)
        if labels is not None:
            inventories["`model.init_args.labels`"] = list(labels)
        return settle_labels(inventories)

    # ------------------------------------------------------------------ for its fine-tuning

    @property
    def sft_root(self) -> nn.Module:
        """The Hugging Face model with its head, to which a fine-tuning's names are relative."""
        return self.model

    def scope_rules(self) -> ScopeRules:
        """Which parameters are maskable, whole or frozen.

        Normalisation layers are frozen (Ansell et al., 2022, §4.1), if they are pretrained. The
        head is whole, and so is what was initialised afresh inside the encoder: a difference to a
        random start that is lost cannot be applied. An adapter in training is of that kind. The
        rest is maskable, unless there are adapters: then it is fixed.
        """
        names = [name for name, _ in self.model.named_parameters(remove_duplicate=False)]
        heads = {name.split(".")[0] for name in names if not is_inside(name, self.model)}
        fresh = {name for name in self._fresh if is_inside(name, self.model)}
        norms = owned_by(self.model, "*Norm")
        pretrained = ["type:*Norm"] if norms.isdisjoint(self._fresh) else [*norms - self._fresh]
        return ScopeRules(
            whole=sorted(heads) + sorted(fresh), frozen=sorted(pretrained) if norms else []
        )

    def sft_metadata(self) -> dict[str, Any]:
        """Where a fine-tuning of this model comes from; fields of `Metadata`."""
        return (self._adapter.metadata() if self._adapter else {}) | {
            "base_model": self.base_model,
            "base_revision": self.revision,
            "trained_with": list(self.base_sfts),
            "task": self.task_name,
            "language": self._trained_language(),
            "labels": self.labels,
        }

    def _trained_language(self) -> str | None:
        return self.language or "+".join(self._languages) or None

    # ------------------------------------------------------------------ training

    @abstractmethod
    def training_loss(self, batch: Batch) -> SummedLoss | Tensor:
        """The loss of a batch; a scalar counts as much as that of any other rank or micro-batch."""

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if language := batch.get("language"):
            self._languages[language] = None
        loss = self.training_loss(batch)
        mean = loss if isinstance(loss, Tensor) else loss.mean
        self.log("train_loss", mean, prog_bar=True, batch_size=len(batch["input_ids"]))
        return loss if isinstance(loss, Tensor) else self.global_mean(loss)

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = AdamW(
            parameters,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            # One pass over everything. In float16 it would undo the loss's scaling itself, too late
            # for gradients to be clipped; Lightning refuses to clip in bfloat16 as well.
            fused="mixed" not in self.trainer.precision,
        )
        scheduler = linear_to_zero(optimizer, self.trainer.estimated_stepping_batches)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    # ------------------------------------------------------------------ evaluation

    @abstractmethod
    def make_metrics(self) -> dict[str, Metric]:
        """New metrics for one evaluation, by the names they are logged under."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        """Predict for a batch.

        Returns:
            What each metric of :meth:`make_metrics` is updated with, by its name.
        """

    def score(self, batch: Batch, metrics: Mapping[str, Metric]) -> None:
        """Update metrics that :meth:`make_metrics` made with the predictions for a batch."""
        updates = self.evaluate(batch)
        for name, metric in metrics.items():
            metric.update(*updates[name])

    @override
    def setup(self, stage: str) -> None:
        """Let the data number labels as the model does, and fit it; start an adapter."""
        data = getattr(self.trainer, "datamodule", None)
        # A user's own data module may not say these.
        num_tokens, max_length = (getattr(data, key, None) for key in ("num_tokens", "max_length"))
        check_inputs(self.model, num_tokens, max_length)
        use_labels = getattr(data, "use_labels", None)
        if self.labels is not None and use_labels is not None:
            use_labels(self.labels)
        if stage == "fit" and self._adapter is not None:
            self._adapter.fill()

    @override
    def on_validation_epoch_start(self) -> None:
        self._scores = {"": self._metrics_here()}

    @override
    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.score(batch, self._scores[""])

    @override
    def on_validation_epoch_end(self) -> None:
        for name, metric in self._scores[""].items():
            key = f"val_{name}"
            self.log(key, metric, prog_bar=key == self.monitor, metric_attribute=key)

    @override
    def on_test_epoch_start(self) -> None:
        # Every rank makes all of them: one without a batch of a language must join in its sum.
        data = getattr(self.trainer, "datamodule", None)
        languages = getattr(data, "evaluation_languages", lambda stage: ())("test")
        self._scores = {language: self._metrics_here() for language in languages}

    @override
    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        language = batch["language"]
        if language not in self._scores:
            self._scores[language] = self._metrics_here()
        self.score(batch, self._scores[language])

    @override
    def on_test_epoch_end(self) -> None:
        for language, metrics in self._scores.items():
            for name, metric in metrics.items():
                key = f"test_{name}/{language}"
                self.log(key, metric, metric_attribute=key)

    def _metrics_here(self) -> dict[str, Metric]:
        return {name: metric.to(self.device) for name, metric in self.make_metrics().items()}

    # ------------------------------------------------------------------ checkpoints

    @classmethod
    @override
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: Any = None,
        strict: bool | None = None,
        **options: Any,
    ) -> Self:
        """Build a task again from a checkpoint; see :func:`~ltsft.tasks.checkpoints.load_task`."""
        return load_task(cls, checkpoint_path, map_location, strict, **options)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what builds the model again without the hub, or the folder it came from."""
        checkpoint["hyper_parameters"] |= {
            "model_config": config_values(self.model),
            "revision": self.revision,
            "language": self._trained_language(),
            "adapters": None if self.adapters is None else asdict(self.adapters),
        }
        if self._adapter is not None:
            checkpoint["base_digests"] = self._adapter.base_digests
        if self.labels is not None:
            checkpoint["hyper_parameters"]["labels"] = self.labels
        checkpoint["fresh_parameters"] = sorted(self._fresh)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of another model, or that were trained for other labels."""
        saved = checkpoint.get("hyper_parameters", {})
        if self.labels is not None and saved.get("labels", self.labels) != self.labels:
            raise LtsftError(
                f"`model.init_args.labels` is expected to be those of the checkpoint, "
                f"{', '.join(saved['labels'])}, but got {', '.join(self.labels)}; leave them out."
            )
        shapes, expected = (
            {name: tuple(tensor.shape) for name, tensor in state.items()}
            for state in (checkpoint["state_dict"], self.state_dict())
        )
        if odd := sorted(dict(shapes.items() ^ expected.items())):
            raise LtsftError(
                "the checkpoint is expected to be of the same model and task, but "
                f"`{odd[0]}` has shape {shapes.get(odd[0], 'none')} in it and "
                f"{expected.get(odd[0], 'none')} here; name the checkpoint's own `model`."
            )
        self._fresh = frozenset(checkpoint.get("fresh_parameters", self._fresh))
        if self._adapter is not None:
            self._adapter.base_digests = checkpoint["base_digests"]
        if self.language is None and saved.get("language"):
            self._languages = dict.fromkeys(saved["language"].split("+"))
