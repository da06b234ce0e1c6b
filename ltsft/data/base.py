"""What all data modules share: batch sizes, ranks, and the state for checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset
from typing_extensions import override

from ltsft.data.serving.loading import Collate, EvaluationLoader, TrainingLoader
from ltsft.data.serving.sampling import EvaluationSampler, TrainingSampler
from ltsft.errors import LtsftError

ROLE_OF_STAGE = {
    "fit": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
    "predict": "predict",
}


class DataModule(LightningDataModule):
    """Makes loaders that shard themselves, and keeps the training loader's place in checkpoints.

    Use with ``Trainer(use_distributed_sampler=False)``; the loaders are no DataLoaders, so other
    settings change nothing.

    Args:
        global_batch_size: Examples per optimizer step, over all processes and accumulated batches.
        eval_batch_size: Examples per batch and process when evaluating.
        num_workers: Processes that fetch batches ahead; 0 fetches in the main process.
        seed: Seed of the order of training examples and of masking.

    Raises:
        LtsftError: If a number is out of range.
    """

    def __init__(
        self, *, global_batch_size: int, eval_batch_size: int, num_workers: int, seed: int
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("global_batch_size", global_batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise LtsftError(
                    f"`data.init_args.{name}` is expected to be {least} or more, but got {value}."
                )
        self.global_batch_size = global_batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        # A rank may be without evaluation examples, if there are fewer than ranks.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._training_loader: TrainingLoader | None = None
        self._restored: dict[str, Any] = {}

    @property
    def labels(self) -> list[str] | None:
        """Label names, where the data have labels; the command line hands them to the model."""
        return None

    @property
    def num_tokens(self) -> int | None:
        """Size of the tokenizer's vocabulary, where there is a tokenizer."""
        return None

    @property
    def takes_labels(self) -> bool:
        """Whether examples have labels: known already, or to be numbered as the model does."""
        return self.labels is not None

    def evaluation_languages(self, stage: str) -> list[str]:
        """Language codes of the evaluation loaders, in their order.

        Args:
            stage: ``fit`` or ``validate`` for validation, ``test``, ``predict``.
        """
        raise NotImplementedError

    @property
    def training_languages(self) -> list[str]:
        """Language codes of the training data."""
        raise NotImplementedError

    def languages(self, stage: str) -> list[str]:
        """Language codes of all data that a stage goes through, those of training first.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.
        """
        trained = self.training_languages if stage == "fit" else []
        return list(dict.fromkeys([*trained, *self.evaluation_languages(stage)]))

    def describe(self, stage: str) -> str:
        """The data of a stage by language, and how much they are; for a log.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.
        """
        raise NotImplementedError

    def save_predictions(self, language: str, predictions: list[Any], folder: Path) -> Path:
        """Write what a model predicts for a language's data, in the format that its field uses.

        Args:
            language: Language code.
            predictions: What the task predicted for each example, in the order of the data.
            folder: Where to write.

        Returns:
            The file.
        """
        raise NotImplementedError  # raw text has none: ``ltsft predict`` refuses it

    @override
    def prepare_data(self) -> None:
        """Tokenise in one process of each machine first; the others find it in the cache."""
        if self.trainer is not None and self._world_size > 1:
            self.setup(str(self.trainer.state.fn.value))  # type: ignore[union-attr]

    @override
    def state_dict(self) -> dict[str, Any]:
        """The training loader's state; Lightning drops the loader's own in some cases.

        It asks for loaders early when a module reads ``estimated_stepping_batches``, and then
        restores no loader.
        """
        if self._training_loader is not None:
            return self._training_loader.state_dict()
        return self._restored

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the training loader's state, now or as soon as there is one."""
        self._restored = dict(state_dict)
        if self._training_loader is not None and self._restored:
            self._training_loader.load_state_dict(self._restored)

    def make_training_loader(
        self,
        examples: Dataset[Any],
        collate: Collate,
        sizes: Sequence[int],
        **order: Any,
    ) -> TrainingLoader:
        """A loader over all examples, sharded for this process.

        Args:
            examples: What to serve.
            collate: Makes a batch of examples.
            sizes: Number of examples of each language.
            **order: `mixing` and `lengths` of the sampler.
        """
        sampler = TrainingSampler(
            sizes,
            self.global_batch_size,
            rank=self._rank,
            world_size=self._world_size,
            accumulate=1 if self.trainer is None else self.trainer.accumulate_grad_batches,
            seed=self.seed,
            **order,
        )
        loader = TrainingLoader(
            examples,
            sampler,
            collate,
            num_workers=self.num_workers,
            pin_memory=self._on_gpu,
        )
        if self._restored:
            loader.load_state_dict(self._restored)
        self._training_loader = loader
        return loader

    def make_evaluation_loader(self, examples: Dataset[Any], collate: Collate) -> EvaluationLoader:
        """A loader over all examples, sharded for this process, none of them twice."""
        sampler = EvaluationSampler(
            len(examples),  # type: ignore[arg-type]
            self.eval_batch_size,
            rank=self._rank,
            world_size=self._world_size,
            seed=self.seed,
        )
        return EvaluationLoader(
            examples, sampler, collate, num_workers=self.num_workers, pin_memory=self._on_gpu
        )

    @property
    def is_first_rank(self) -> bool:
        """Whether this process is the one that shows progress."""
        return self._rank == 0

    @property
    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    @property
    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
