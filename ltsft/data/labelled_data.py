"""What data modules of labelled examples share: languages, roles, tokenising, mixing."""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from ltsft.batch import NOWHERE
from ltsft.data.base import ROLE_OF_STAGE, DataModule
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns
from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.data.labels import unknown_labels
from ltsft.data.serving.collate import Collator
from ltsft.data.serving.examples import LabelledExamples, LanguageExamples
from ltsft.data.serving.loading import EvaluationLoader, TrainingLoader
from ltsft.data.serving.sampling import Mixing
from ltsft.data.source import Source, Sources, by_language
from ltsft.errors import LtsftError
from ltsft.files import STDIN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROLES_OF_STAGE = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("predict",),
    None: ("train", "validation", "test", "predict"),
}

Example = TypeVar("Example")
"""What a reader returns: words or texts of one example, and its gold annotation."""


class LabelledData(DataModule, Generic[Example]):
    """Labelled examples of one or several languages, for one task.

    A subclass says how examples are read (:meth:`read`), tokenised (:meth:`tokenize`), numbered
    (:meth:`annotate`), and how predictions are written (:meth:`save_predictions`).

    Every batch is of one language, which it carries as `language`. Of several training languages
    each optimizer step takes one (Ansell et al., 2022, §4.4).

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        train: Training data: a path or a list of paths, whose names tell their languages
            (``en-train.conllu``); or language code → path or paths.
        validation: Validation data, likewise.
        test: Test data, likewise.
        predict: Data to predict for, likewise; labels are not looked at, and may be missing.
        max_examples: Training examples to take of each language at the most, the first ones. The
            paper takes 15,000 sentences of each language to train parsers on several.
        temperature: How several training languages are mixed. 1: every example once a pass. Above:
            languages with few examples more often, each by its share to the power of 1 /
            temperature. ``.inf``: all languages as often as the largest.
        max_length: Sub-words per example, special tokens included.
        group_by_length: Put examples of similar length into a training batch: fewer sub-words are
            padding, and batches are a little less random.
        global_batch_size: Examples per optimizer step, over all processes and accumulated batches.
        eval_batch_size: Examples per batch and process when evaluating.
        num_workers: Processes that fetch batches ahead; 0 fetches in the main process.
        seed: Seed of the order of training examples.

    Raises:
        LtsftError: If a number is out of range.
    """

    def __init__(
        self,
        tokenizer: str = "",
        train: Sources | None = None,
        validation: Sources | None = None,
        test: Sources | None = None,
        predict: Sources | None = None,
        max_examples: int | None = None,
        temperature: float = 1.0,
        max_length: int = 256,
        group_by_length: bool = False,
        global_batch_size: int = 8,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            global_batch_size=global_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.mixing = Mixing(temperature, group_by_length)
        if max_examples is not None and max_examples < 1:
            raise LtsftError(
                f"`data.init_args.max_examples` is expected to be 1 or more, but got {max_examples}"
                "; leave it out to train on everything."
            )
        self.sources = {
            role: by_language(sources, f"data.init_args.{role}")
            for role, sources in (
                ("train", train),
                ("validation", validation),
                ("test", test),
                ("predict", predict),
            )
        }
        for role in ("train", "validation", "test"):
            parts = chain.from_iterable(self.sources[role].values())
            if any(source.path == STDIN for source in parts):
                raise LtsftError(
                    f"`data.init_args.{role}` is expected to be in files, but got {STDIN!r}; only "
                    "what is to be predicted may come through a pipe."
                )
        self.max_examples = max_examples
        if max_examples is not None:
            for source in chain.from_iterable(self.sources["train"].values()):
                source.limit = min(source.limit or max_examples, max_examples)  # read no more
        self.tokenizer_name = tokenizer
        self.max_length = max_length
        self._tokenizer: PreTrainedTokenizerFast | None = None
        self._examples: dict[tuple[str, str], list[Example]] = {}
        self._tokenized: dict[tuple[str, str], Columns] = {}
        self._labels: list[str] | None = None
        self._explicit_labels: list[str] | None = None

    # ------------------------------------------------------------------ what a subclass says

    @abstractmethod
    def read(self, source: Source, role: str) -> list[Example]:
        """Read the examples of a source.

        Args:
            source: Where they are.
            role: What they are for: ``train``, ``validation``, ``test``, or ``predict``: then gold
                annotation is not looked at, and may be missing.
        """

    @abstractmethod
    def tokenize(self, examples: list[Example], tokenizer: "PreTrainedTokenizerFast") -> Columns:
        """Tokenise examples: `input_ids` and whatever else the task's model takes."""

    @abstractmethod
    def annotate(self, examples: list[Example], columns: Columns) -> dict[str, Ragged | Tensor]:
        """Number the gold annotation of tokenised examples, by :attr:`labels` as they are now."""

    def check(self, name: str, role: str, examples: list[Example], columns: Columns) -> None:
        """Warn of, or refuse, what is wrong with examples; `name` says where they are from."""

    # ------------------------------------------------------------------ labels

    @property
    def labels(self) -> list[str] | None:
        """Label names; a label's id is its place."""
        return self._labels

    def settle_labels(self, labels: list[str] | None, default: list[str] | None) -> None:
        """Take the label names that were asked for, or the default ones.

        Raises:
            LtsftError: If they are not different names.
        """
        if labels is not None and (not labels or len(set(labels)) < len(labels)):
            raise LtsftError(
                "`data.init_args.labels` is expected to list different labels, at least one, but "
                f"got {labels}."
            )
        self._explicit_labels = labels
        self._labels = list(labels) if labels is not None else default and list(default)

    def use_labels(self, labels: list[str]) -> None:
        """Take the labels of a checkpoint or of a fine-tuning: they are the truth when evaluating.

        To be called before loaders are made.

        Raises:
            LtsftError: If other `labels` were asked for explicitly.
        """
        if self._explicit_labels is not None and list(self._explicit_labels) != list(labels):
            raise LtsftError(
                f"`data.init_args.labels` is expected to be those of the model, {labels}, but got "
                f"{self._explicit_labels}; leave them out."
            )
        self._labels = list(labels)

    def warn_of_unknown(self, name: str, role: str, tags: Sequence[Sequence[str]]) -> None:
        """Count gold labels outside the inventory.

        Raises:
            LtsftError: If not one gold label is in it.
        """
        if role == "predict" or self.labels is None:
            return
        unknown = unknown_labels(tags, self.labels, name)
        if unknown:
            counts = ", ".join(f"{count} {label}" for label, count in unknown.most_common())
            use = "are not trained on" if role == "train" else "count as wrong"
            rank_zero_warn(
                f"{name} has {unknown.total()} labels outside the inventory ({counts}); they {use}."
            )

    # ------------------------------------------------------------------ words

    def warn_of_lost_words(self, name: str, role: str, columns: Columns) -> None:
        """Count words without a sub-word: they were cut off, or the tokenizer leaves nothing."""
        if lost := int((columns["word_starts"].values == NOWHERE).sum()):
            use = {
                "train": "are not trained on",
                "predict": "get an answer that is none: `O`, `X`, or `dep` under the first word",
            }.get(role, "count as wrong")
            rank_zero_warn(
                f"{name} has {lost} words beyond `data.init_args.max_length` = {self.max_length}, "
                f"or without any sub-word; they {use}."
            )

    # ------------------------------------------------------------------ loaders

    @override
    def evaluation_languages(self, stage: str) -> list[str]:
        return list(self.sources[ROLE_OF_STAGE[stage]])

    @override
    def describe(self, stage: str) -> str:
        return "; ".join(
            f"{role} "
            + ", ".join(
                f"{language} {len(self._read(role, language)):,} examples "
                f"({len(self._tokenize(role, language)['input_ids'].values):,} sub-words)"
                for language in self.sources[role]
            )
            for role in ROLES_OF_STAGE[stage]
            if self.sources[role]
        )

    @property
    @override
    def training_languages(self) -> list[str]:
        return list(self.sources["train"])

    def give(self, role: str, language: str, examples: list[Example]) -> None:
        """Take examples from memory, beside those in files.

        Args:
            role: ``train``, ``validation``, ``test`` or ``predict``.
            language: Their language code.
            examples: What :meth:`read` would return.
        """
        self.sources[role].setdefault(language, [Source("memory")])
        self._examples[role, language] = examples
        self._tokenized.pop((role, language), None)

    def examples(self, stage: str, language: str) -> list[Example]:
        """The examples of a language in an evaluation stage, in order."""
        return self._read(ROLE_OF_STAGE[stage], language)

    @override
    def setup(self, stage: str | None = None) -> None:
        for role in ROLES_OF_STAGE[stage]:
            for language in self.sources[role]:
                self._tokenize(role, language)

    @override
    def train_dataloader(self) -> TrainingLoader:
        self._expect("train")
        parts = [self._part("train", language) for language in self.sources["train"]]
        return self.make_training_loader(
            LabelledExamples(parts),
            self.collator,
            [len(part) for part in parts],
            mixing=self.mixing,
            lengths=torch.cat([part.lengths for part in parts]),
        )

    @override
    def val_dataloader(self) -> list[EvaluationLoader]:
        # A fit may do without; `validate` asked for it.
        if self.trainer is not None and self.trainer.state.fn == "validate":
            self._expect("validation")
        return self._evaluation_loaders("validation")

    @override
    def test_dataloader(self) -> list[EvaluationLoader]:
        self._expect("test")
        return self._evaluation_loaders("test")

    @override
    def predict_dataloader(self) -> list[EvaluationLoader]:
        self._expect("predict")
        return self._evaluation_loaders("predict")

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer, loaded when first asked for."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.tokenizer_name, self.max_length)
        return self._tokenizer

    @property
    @override
    def num_tokens(self) -> int:
        return len(self.tokenizer)

    @property
    def collator(self) -> Collator:
        """What makes batches."""
        return Collator(self.tokenizer.pad_token_id)

    def _expect(self, role: str) -> None:
        if not self.sources[role]:
            raise LtsftError(
                f"`data.init_args.{role}` is expected to give data, but it is empty; add for "
                f"example `--data.init_args.{role} '{{en: path/to/file}}'`."
            )

    def _evaluation_loaders(self, role: str) -> list[EvaluationLoader]:
        return [
            self.make_evaluation_loader(
                LabelledExamples([self._part(role, language)]), self.collator
            )
            for language in self.sources[role]
        ]

    def _part(self, role: str, language: str) -> LanguageExamples:
        columns = self._tokenize(role, language)
        examples = self._read(role, language)
        self.check(self._name(role, language), role, examples, columns)
        return LanguageExamples(language, {**columns, **self.annotate(examples, columns)})

    def _read(self, role: str, language: str) -> list[Example]:
        if (role, language) not in self._examples:
            parts = (self.read(source, role) for source in self.sources[role][language])
            most = self.max_examples if role == "train" else None
            self._examples[role, language] = list(islice(chain.from_iterable(parts), most))
        return self._examples[role, language]

    def _tokenize(self, role: str, language: str) -> Columns:
        if (role, language) not in self._tokenized:
            examples = self._read(role, language)
            self._tokenized[role, language] = self.tokenize(examples, self.tokenizer)
        return self._tokenized[role, language]

    def _name(self, role: str, language: str) -> str:
        sources = self.sources[role][language]
        return f"`{sources[0].option}` ({', '.join(source.path for source in sources)})"
