"""Sentence pairs or single sentences of one or several languages with one label each."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from ltsft.atomic import write_text
from ltsft.batch import PADDING, UNKNOWN
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns, tokenize_texts
from ltsft.data.labelled_data import LabelledData
from ltsft.data.labels import NLI
from ltsft.data.pairs import LabelledTexts, read_pairs
from ltsft.data.source import Source
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class PairData(LabelledData[LabelledTexts]):
    """Sentence pairs with one label each (NLI), or single sentences (sentiment, topics).

    Batches, each of one language: `input_ids`, `attention_mask` [B, T]; `token_type_ids` [B, T], if
    the tokenizer tells the two sentences apart by them; `labels` [B], -1 for a gold label outside
    the inventory (scored, and never right), -100 for an example without a gold label (not scored);
    `language`.

    Of examples longer than `max_length` the end of the longer text is cut off. Empty texts are kept
    as they are. Labels ``-`` and nothing mean that there is no gold label, as in SNLI and XNLI.

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        texts: Columns that hold the texts: two for pairs, one for single sentences. `columns` of a
            source may say what they are called there, as for `label`.
        labels: Label names. For pairs by default those of natural language inference, in the order
            of the authors' files: entailment, neutral, contradiction. Single sentences need them,
            but not where a fine-tuning or a checkpoint brings them.
        label_map: Labels to rename, e.g. ``{contradictory: contradiction, "1": positive}``.
        **kwargs: Options of all labelled data, see
            :class:`~ltsft.data.labelled_data.LabelledData`.

    Raises:
        LtsftError: If a number is out of range.
    """

    def __init__(
        self,
        tokenizer: str = "",
        texts: list[str] = ["premise", "hypothesis"],  # noqa: B006  (as for `label_map`)
        labels: list[str] | None = None,
        label_map: dict[str, str] = {},  # noqa: B006  (never changed; the signature is the schema)
        **kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, **kwargs)
        if len(set(texts)) != len(texts) or not 1 <= len(texts) <= 2:
            raise LtsftError(
                "`data.init_args.texts` is expected to name one column (single sentences) or two "
                f"different ones (pairs), but got {texts}."
            )
        self.texts = list(texts)
        self.label_map = dict(label_map)
        self.settle_labels(labels, NLI if len(texts) == 2 else None)

    @property
    @override
    def takes_labels(self) -> bool:
        return True

    @override
    def read(self, source: Source, role: str) -> list[LabelledTexts]:
        """Read examples; their labels are those after `label_map`."""
        examples = read_pairs(source, role, texts=self.texts)
        for example in examples:
            if example.label is not None:
                example.label = self.label_map.get(example.label, example.label)
        return examples

    @override
    def tokenize(
        self, examples: list[LabelledTexts], tokenizer: "PreTrainedTokenizerFast"
    ) -> Columns:
        return tokenize_texts(
            [example.texts for example in examples],
            tokenizer,
            self.max_length,
            progress=self.is_first_rank,
        )

    @override
    def annotate(
        self, examples: list[LabelledTexts], columns: Columns
    ) -> dict[str, Ragged | Tensor]:
        if self.labels is None and any(example.label is not None for example in examples):
            raise LtsftError(
                "`data.init_args.labels` is expected to list the labels of single sentences, but "
                "got none; only pairs have a default inventory."
            )
        ids = {label: number for number, label in enumerate(self.labels or [])}
        return {
            "labels": torch.tensor(
                [PADDING if e.label is None else ids.get(e.label, UNKNOWN) for e in examples]
            )
        }

    @override
    def check(self, name: str, role: str, examples: list[LabelledTexts], columns: Columns) -> None:
        for place, column in enumerate(self.texts):
            if empty := sum(not example.texts[place].strip() for example in examples):
                rank_zero_warn(f"{name} has {empty} examples with an empty `{column}`; it is kept.")
        if full := int((columns["input_ids"].lengths >= self.max_length).sum()):
            rank_zero_warn(
                f"{name} has {full} examples that fill `data.init_args.max_length` = "
                f"{self.max_length} sub-words; of longer ones the end of the longer text is cut "
                "off."
            )
        if role == "predict":
            return
        labels = [example.label for example in examples if example.label is not None]
        if not labels:
            raise LtsftError(
                f"{name} is expected to have labels, but not one example has one; name the column "
                "that holds them, `columns: {label: …}`."
            )
        if without := len(examples) - len(labels):
            use = "trained on" if role == "train" else "scored"
            rank_zero_warn(
                f"{name} has {without} examples without a gold label; they are not {use}."
            )
        self.warn_of_unknown(name, role, [labels])

    @override
    def save_predictions(self, language: str, predictions: list[Any], folder: Path) -> Path:
        """Write texts, the most probable label, and all labels' probabilities as JSON lines.

        Args:
            language: Language code.
            predictions: Label → probability, for each example.
            folder: Where to write.
        """
        lines = []
        for example, shares in zip(self.examples("predict", language), predictions, strict=True):
            row = dict(zip(self.texts, example.texts, strict=True))
            row |= {"label": max(shares, key=shares.__getitem__), "probabilities": shares}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        path = folder / f"{language}.jsonl"
        write_text(path, "".join(lines))
        return path
