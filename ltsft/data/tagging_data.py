"""Sentences of one or several languages with a tag per word."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from ltsft.data.base import ROLE_OF_STAGE, DataModule
from ltsft.data.collate import NO_START, TaggingCollator, TokenizedSentence, tokenize_words
from ltsft.data.iob2 import count_stray
from ltsft.data.labels import ENTITIES, UNKNOWN_LABEL, UPOS, map_tag, unknown_labels
from ltsft.data.loading import EvaluationLoader, Examples, TrainingLoader
from ltsft.data.source import Source, Sources
from ltsft.data.tagged import TagFormat, TaggedSentence, read_tagged
from ltsft.data.tokenizer import load_tokenizer
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROLES_OF_STAGE = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("predict",),
    None: ("train", "validation", "test", "predict"),
}

_SPLIT_OF_ROLE = {"predict": "test"}


class TaggingData(DataModule):
    """Sentences with a tag per word: parts of speech, or named entities.

    Batches, each of one language: `input_ids`, `attention_mask` [B, T]; `word_starts` [B, W], the
    position of each word's first sub-word, -1 if it was cut off or has none; `labels` [B, W], -100
    for padding, -1 for a gold label outside the inventory (scored, and never right); `source`, the
    language code.

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        train: Language code → training data; one language.
        validation: Language code → validation data.
        test: Language code → test data.
        predict: Language code → data to predict for; its tags are not looked at.
        format: Format of files: ``conllu``, or ``iob2`` (token and tag per line). Of built-in
            languages it takes parts of speech and entities, respectively.
        column: Tags to take from CoNLL-U: ``upos`` or ``deprel``; also the default column of tags
            in a `datasets` table, where ``iob2`` looks for ``ner_tags``.
        labels: Label names. By default the 17 universal parts of speech, or O and the IOB2 tags of
            PER, ORG and LOC.
        tag_map: Tags, or types of entities, to rename, e.g. ``{DATE: O, MISC: O}``.
        max_length: Sub-words per sentence, special tokens included; words beyond it are cut off,
            and count as wrong when evaluating.
        global_batch_size: Sentences per optimizer step, over all processes and accumulated batches.
        eval_batch_size: Sentences per batch and process when evaluating.
        num_workers: Processes that fetch batches ahead; 0 fetches in the main process.
        seed: Seed of the order of training sentences.

    Raises:
        LtsftError: If a number is out of range, `column` is unknown without `labels` to go with it,
            or `train` has several languages.
    """

    def __init__(
        self,
        tokenizer: str = "",
        train: Sources | None = None,
        validation: Sources | None = None,
        test: Sources | None = None,
        predict: Sources | None = None,
        format: TagFormat = "conllu",
        column: str = "upos",
        labels: list[str] | None = None,
        tag_map: dict[str, str] = {},  # noqa: B006  (never changed; the signature is the schema)
        max_length: int = 256,
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
        if format not in ("conllu", "iob2"):
            raise LtsftError(
                f"`data.init_args.format` is expected to be conllu or iob2, but got {format!r}."
            )
        if labels is None and format == "conllu" and column != "upos":
            raise LtsftError(
                f"`data.init_args.labels` is expected to list the labels of the column {column!r}, "
                "but got none; only `upos` has a default inventory."
            )
        if labels is not None and (not labels or len(set(labels)) < len(labels)):
            raise LtsftError(
                "`data.init_args.labels` is expected to list different labels, at least one, but "
                f"got {labels}."
            )
        if train is not None and len(train) > 1:
            raise LtsftError(
                "`data.init_args.train` is expected to have one language (each batch is of one, "
                f"and mixing is not supported yet), but got {', '.join(train)}."
            )
        self.sources = {
            role: {language: Source.of(source) for language, source in (sources or {}).items()}
            for role, sources in (
                ("train", train),
                ("validation", validation),
                ("test", test),
                ("predict", predict),
            )
        }
        self.tokenizer_name = tokenizer
        self.format: TagFormat = format
        self.column = column
        self.tag_map = dict(tag_map)
        self.max_length = max_length
        self._given_labels = labels
        self._labels = list(labels or (ENTITIES if format == "iob2" else UPOS))
        self._tokenizer: PreTrainedTokenizerFast | None = None
        self._sentences: dict[tuple[str, str], list[TaggedSentence]] = {}
        self._tokenized: dict[tuple[str, str], list[TokenizedSentence]] = {}

    @property
    def labels(self) -> list[str]:
        """Label names; a label's id is its place."""
        return self._labels

    def use_labels(self, labels: list[str]) -> None:
        """Take the labels of a checkpoint or of a fine-tuning: they are the truth when evaluating.

        To be called before loaders are made.

        Raises:
            LtsftError: If other `labels` were given explicitly.
        """
        if self._given_labels is not None and list(self._given_labels) != list(labels):
            raise LtsftError(
                f"`data.init_args.labels` is expected to be those of the model, {labels}, but got "
                f"{self._given_labels}; leave them out."
            )
        self._labels = list(labels)

    @override
    def evaluation_languages(self, stage: str) -> list[str]:
        return list(self.sources[ROLE_OF_STAGE[stage]])

    def sentences(self, stage: str, language: str) -> list[TaggedSentence]:
        """Words and gold tags of the data of an evaluation stage, after `tag_map`, in order."""
        return self._read(ROLE_OF_STAGE[stage], language)

    @override
    def setup(self, stage: str | None = None) -> None:
        for role in ROLES_OF_STAGE[stage]:
            for language in self.sources[role]:
                self._tokenize(role, language)

    @override
    def train_dataloader(self) -> TrainingLoader:
        self._expect("train")
        (language,) = self.sources["train"]
        return self.make_training_loader(*self._examples("train", language))

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

    def _expect(self, role: str) -> None:
        if not self.sources[role]:
            raise LtsftError(
                f"`data.init_args.{role}` is expected to give data, but it is empty; add for "
                f"example `--data.init_args.{role} '{{en: path/to/file}}'`."
            )

    def _evaluation_loaders(self, role: str) -> list[EvaluationLoader]:
        return [
            self.make_evaluation_loader(*self._examples(role, language))
            for language in self.sources[role]
        ]

    def _read(self, role: str, language: str) -> list[TaggedSentence]:
        if (role, language) not in self._sentences:
            sentences = read_tagged(
                self.sources[role][language],
                _SPLIT_OF_ROLE.get(role, role),
                format=self.format,
                column=self.column,
                key=f"data.init_args.{role}.{language}",
            )
            stray = count_stray(s.tags for s in sentences) if self.format == "iob2" else 0
            if stray:
                rank_zero_warn(
                    f"{self._name(role, language)} has {stray} I- tags that continue nothing; they "
                    "are kept as they are."
                )
            for sentence in sentences:
                sentence.tags = [map_tag(tag, self.tag_map) for tag in sentence.tags]
            self._sentences[role, language] = sentences
        return self._sentences[role, language]

    def _tokenize(self, role: str, language: str) -> list[TokenizedSentence]:
        if (role, language) not in self._tokenized:
            sentences = self._read(role, language)
            if self._tokenizer is None:
                self._tokenizer = load_tokenizer(self.tokenizer_name, self.max_length)
            tokenized = tokenize_words(
                (s.words for s in sentences), self._tokenizer, self.max_length
            )
            self._warn_of_lost_words(role, language, tokenized)
            self._tokenized[role, language] = tokenized
        return self._tokenized[role, language]

    def _examples(self, role: str, language: str) -> tuple[Examples, TaggingCollator]:
        tokenized = self._tokenize(role, language)
        assert self._tokenizer is not None
        tags = [sentence.tags for sentence in self._read(role, language)]
        if role != "predict":
            self._check_labels(role, language, tags)
        ids = {label: number for number, label in enumerate(self.labels)}
        labels: list[Tensor] = [
            torch.tensor([ids.get(tag, UNKNOWN_LABEL) for tag in sentence]) for sentence in tags
        ]
        return Examples(tokenized, labels), TaggingCollator(language, self._tokenizer.pad_token_id)

    def _check_labels(self, role: str, language: str, tags: Iterable[list[str]]) -> None:
        name = self._name(role, language)
        unknown = unknown_labels(tags, self.labels, name)
        if unknown:
            counts = ", ".join(f"{count} {label}" for label, count in unknown.most_common())
            use = "are not trained on" if role == "train" else "count as wrong"
            rank_zero_warn(
                f"{name} has {unknown.total()} labels outside the inventory ({counts}); they {use}."
            )

    def _warn_of_lost_words(
        self, role: str, language: str, tokenized: list[TokenizedSentence]
    ) -> None:
        lost = sum(int((sentence.word_starts == NO_START).sum()) for sentence in tokenized)
        if lost:
            use = "are not trained on" if role == "train" else "count as wrong"
            rank_zero_warn(
                f"{self._name(role, language)} has {lost} words beyond "
                f"`data.init_args.max_length` = {self.max_length}, or without any sub-word; they "
                f"{use}."
            )

    def _name(self, role: str, language: str) -> str:
        return f"`data.init_args.{role}.{language}` ({self.sources[role][language].path})"
