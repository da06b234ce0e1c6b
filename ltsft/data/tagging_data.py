"""Sentences of one or several languages with a tag per word."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from ltsft.atomic import write_text
from ltsft.batch import UNKNOWN
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns
from ltsft.data.encoding.words import tokenize_words
from ltsft.data.formats.conllu import format_sentence
from ltsft.data.formats.iob2 import count_stray, format_iob2
from ltsft.data.labelled_data import LabelledData
from ltsft.data.labels import ENTITIES, UPOS, map_tag
from ltsft.data.source import Source
from ltsft.data.tagged import CONLLU_TAGS, TagFormat, TaggedSentence, read_tagged
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TaggingData(LabelledData[TaggedSentence]):
    """Sentences with a tag per word: parts of speech, or named entities.

    Batches, each of one language: `input_ids`, `attention_mask`, `word_ids` [B, T]; `word_starts`
    [B, W], the position of each word's first sub-word, -1 if it was cut off or has none; `labels`
    [B, W], -100 for padding, -1 for a gold label outside the inventory (scored, and never right);
    `language`. Words beyond `max_length` are cut off, and count as wrong when
    evaluating.

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        format: Format of files: ``conllu``, or ``iob2`` (token and tag per line). Of built-in
            languages it takes parts of speech and entities, respectively. Predictions are written
            in it.
        column: Tags to take from CoNLL-U: ``upos``, ``xpos``, ``feats`` or ``deprel``; also the
            default column of tags in a `datasets` table, where ``iob2`` looks for ``ner_tags``.
        labels: Label names. By default the 17 universal parts of speech, or O and the IOB2 tags of
            PER, ORG and LOC.
        tag_map: Tags, or types of entities, to rename, e.g. ``{DATE: O, MISC: O}``.
        **kwargs: Options of all labelled data, see
            :class:`~ltsft.data.labelled_data.LabelledData`.

    Raises:
        LtsftError: If a number is out of range, or `column` is unknown without `labels` to go with
            it.
    """

    def __init__(
        self,
        tokenizer: str = "",
        format: TagFormat = "conllu",
        column: str = "upos",
        labels: list[str] | None = None,
        tag_map: dict[str, str] = {},  # noqa: B006  (never changed; the signature is the schema)
        **kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, **kwargs)
        if format not in ("conllu", "iob2"):
            raise LtsftError(
                f"`data.init_args.format` is expected to be conllu or iob2, but got {format!r}."
            )
        if labels is None and format == "conllu" and column != "upos":
            raise LtsftError(
                f"`data.init_args.labels` is expected to list the labels of the column {column!r}, "
                "but got none; only `upos` has a default inventory."
            )
        self.format: TagFormat = format
        self.column = column
        self.tag_map = dict(tag_map)
        self.settle_labels(labels, ENTITIES if format == "iob2" else UPOS)

    @override
    def read(self, source: Source, role: str) -> list[TaggedSentence]:
        """Read sentences; their tags are those after `tag_map`."""
        sentences = read_tagged(source, role, format=self.format, column=self.column)
        stray = count_stray(s.tags for s in sentences) if self.format == "iob2" else 0
        if stray:
            rank_zero_warn(
                f"`{source.option}` ({source.path}) has {stray} I- tags that continue nothing; "
                "they are kept as they are."
            )
        for sentence in sentences:
            sentence.tags = [map_tag(tag, self.tag_map) for tag in sentence.tags]
        return sentences

    @override
    def tokenize(
        self, examples: list[TaggedSentence], tokenizer: "PreTrainedTokenizerFast"
    ) -> Columns:
        words = [sentence.words for sentence in examples]
        return tokenize_words(words, tokenizer, self.max_length, progress=self.is_first_rank)

    @override
    def annotate(
        self, examples: list[TaggedSentence], columns: Columns
    ) -> dict[str, Ragged | Tensor]:
        ids = {label: number for number, label in enumerate(self.labels or [])}
        return {"labels": Ragged.of([ids.get(tag, UNKNOWN) for tag in s.tags] for s in examples)}

    @override
    def check(self, name: str, role: str, examples: list[TaggedSentence], columns: Columns) -> None:
        self.warn_of_lost_words(name, role, columns)
        self.warn_of_unknown(name, role, [sentence.tags for sentence in examples])

    @override
    def save_predictions(self, language: str, predictions: list[Any], folder: Path) -> Path:
        """Write tags as CoNLL-U (all else as in the data, where that is CoNLL-U) or IOB2.

        Args:
            language: Language code.
            predictions: A list of tags for each sentence.
            folder: Where to write.
        """
        examples = self.examples("predict", language)
        pairs = zip(examples, predictions, strict=True)
        if self.format == "iob2":
            blanks = any(" " in word for sentence in examples for word in sentence.words)
            text = "".join(format_iob2(s.words, tags, "\t" if blanks else " ") for s, tags in pairs)
        else:
            column = CONLLU_TAGS.get(self.column, CONLLU_TAGS["upos"])  # of a table: any name
            text = "".join(
                format_sentence(sentence.words, {column: tags}, sentence.text)
                for sentence, tags in pairs
            )
        path = folder / f"{language}.{self.format}"
        write_text(path, text)
        return path
