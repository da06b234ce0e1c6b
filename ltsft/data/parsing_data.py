"""Sentences of one or several languages with dependency trees."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from ltsft.atomic import write_text
from ltsft.batch import NOWHERE, UNKNOWN
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns
from ltsft.data.encoding.words import tokenize_words
from ltsft.data.formats.conllu import Sentence, format_sentence
from ltsft.data.labelled_data import LabelledData
from ltsft.data.labels import RELATIONS
from ltsft.data.parsed import read_parsed
from ltsft.data.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_HEAD, _DEPREL = 7, 8
"""Columns of CoNLL-U, from 1."""


class ParsingData(LabelledData[Sentence]):
    """Sentences with dependency trees, from CoNLL-U, built-in languages or `datasets` tables.

    Multiword ranges and empty nodes are no words. Sub-types of relations are cut at the colon.
    Every sentence needs a tree with exactly one root, but for those to predict for.

    Batches, each of one language: `input_ids`, `attention_mask`, `word_ids` [B, T], the number of
    the word that a sub-word belongs to, -1 for none; `heads` [B, W], 0 for the root, *i* + 1 for
    word *i*, -100 for padding (-1 where data to predict for has no head); `relations` [B, W], -1
    for one outside the inventory (scored, and never right), -100 for padding; `num_encoded` [B],
    how many of a sentence's words lie within `max_length` (those beyond it are scored all the
    same); `language`.

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        labels: Relations, without sub-types. By default the 37 universal ones in alphabetical
            order. (The authors' published parsers have ``_`` before these.)
        **kwargs: Options of all labelled data, see
            :class:`~ltsft.data.labelled_data.LabelledData`.

    Raises:
        LtsftError: If a number is out of range.
    """

    def __init__(self, tokenizer: str = "", labels: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(tokenizer, **kwargs)
        self.settle_labels(labels, RELATIONS)

    @override
    def read(self, source: Source, role: str) -> list[Sentence]:
        return read_parsed(source, role, trees=role != "predict")

    @override
    def tokenize(self, examples: list[Sentence], tokenizer: "PreTrainedTokenizerFast") -> Columns:
        words = [sentence.words for sentence in examples]
        return tokenize_words(words, tokenizer, self.max_length, progress=self.is_first_rank)

    @override
    def annotate(self, examples: list[Sentence], columns: Columns) -> dict[str, Ragged | Tensor]:
        ids = {label: number for number, label in enumerate(self.labels or [])}
        return {
            "heads": Ragged.of(sentence.heads for sentence in examples),
            "relations": Ragged.of(
                [ids.get(relation, UNKNOWN) for relation in sentence.relations]
                for sentence in examples
            ),
            "num_encoded": self._num_encoded(columns),
        }

    def _num_encoded(self, columns: Columns) -> Tensor:
        """Words within the limit [N]: all, or where it was reached, up to the last with a sub-word.

        Only what was cut off must count as such: the tokenizer may leave nothing of a last word.
        """
        starts = columns["word_starts"]
        has_sub_word = starts.values != NOWHERE
        sentence = torch.repeat_interleave(starts.lengths)
        place = torch.arange(len(sentence)) - (starts.ends - starts.lengths)[sentence]
        up_to_last = torch.zeros_like(starts.ends).scatter_reduce_(
            0, sentence[has_sub_word], place[has_sub_word] + 1, "amax"
        )
        is_whole = columns["input_ids"].lengths < self.max_length
        return torch.where(is_whole, starts.lengths, up_to_last)

    @override
    def check(self, name: str, role: str, examples: list[Sentence], columns: Columns) -> None:
        self.warn_of_lost_words(name, role, columns)
        self.warn_of_unknown(name, role, [sentence.relations for sentence in examples])

    @override
    def save_predictions(self, language: str, predictions: list[Any], folder: Path) -> Path:
        """Write trees as CoNLL-U; where the data is CoNLL-U, all else is as there.

        Args:
            language: Language code.
            predictions: Head (as in CoNLL-U) and relation of each word of each sentence.
            folder: Where to write.
        """
        text = "".join(
            format_sentence(
                sentence.words,
                {_HEAD: [str(head) for head, _ in parse], _DEPREL: [rel for _, rel in parse]},
                sentence.text,
            )
            for sentence, parse in zip(self.examples("predict", language), predictions, strict=True)
        )
        path = folder / f"{language}.conllu"
        write_text(path, text)
        return path
