"""A dependency tree for each sentence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from transformers import AutoModel
from typing_extensions import override

from ltsft.batch import PADDING, Batch
from ltsft.data.parsed import without_tree
from ltsft.data.parsing_data import ParsingData
from ltsft.metrics import (
    AttachmentScore,
    MeanLoss,
    complete_trees,
    decode_trees,
    greedy_heads,
)
from ltsft.modules import BiaffineParser, EncodedWords
from ltsft.modules.biaffine import loss_of_scores
from ltsft.modules.biaffine_parser import Root
from ltsft.tasks.base import Task
from ltsft.tasks.encoder import is_inside
from ltsft.tasks.in_memory import check_words, longest_input, predict
from ltsft.tasks.loss import SummedLoss


class Parse(NamedTuple):
    """Predicted trees.

    Args:
        heads: Head of each word, [B, W], 0 for the root; -1 for no answer, or no word.
        relations: Number of the relation to it, [B, W]; without meaning where there is no answer.
    """

    heads: Tensor
    relations: Tensor


class Parser(Task):
    """Shallow biaffine dependency parsing (Glavaš and Vulić, 2021; Ansell et al., 2022, §4.1).

    A word is the mean of its sub-words, the root is the pooled first token; arcs and relations have
    one biaffine map each. Best weights are chosen by `val_las`, the official score: heads decoded
    to trees with exactly one root, every word counted, root and punctuation too, sub-types of
    relations left out. `val_uas` goes with it. `val_paper_uas` and `val_paper_las` follow the
    paper's code, in which heads are chosen greedily and words whose gold head is the root are left
    out; they are for comparing with the paper's tables.

    Words that a length limit cut off are not trained on. In the paper's scores they are wrong; in
    trees they hang on the first word that is not the root, as `dep`, which is all but always wrong.
    So the official scores are exactly those of the trees that are predicted.

    Args:
        labels: Names of the relations in the order of the head's outputs. By default those of the
            task fine-tuning in `base_sfts`; if both are given, they must agree. The command line
            takes them from the data.
        dropout: Share of the encoder's output that is dropped in training; by default that of its
            hidden layers.
        root: What stands for the root: the output of the encoder's pooling layer (``pooled``), as
            in the paper, or the first token's final state (``first_token``), for encoders without
            one. A pooling layer that the pretrained model lacks starts afresh, trains whole, and is
            kept in the fine-tuning.
        **kwargs: Options of every task, see :class:`~ltsft.tasks.Task`.

    Raises:
        LtsftError: If there are no labels, they contradict each other, or `root` does not suit the
            encoder.
    """

    auto_class = AutoModel
    monitor = "val_las"
    monitor_mode = "max"
    task_name = "dp"
    labels: list[str]
    model: BiaffineParser

    def __init__(
        self,
        labels: list[str] | None = None,
        dropout: float | None = None,
        root: Root = "pooled",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dropout = dropout
        self.root: Root = root
        self._build(labels, labelled=True)

    @override
    def _prepare_model(self) -> None:
        """Put the head beside the encoder; transformers has no model with a biaffine one."""
        self.model = BiaffineParser(self.model, len(self.labels), self.dropout, self.root)
        names = {name for name, _ in self.model.named_parameters()}
        fresh = {f"{self.model.base_model_prefix}.{name}" for name in self._fresh}
        self._fresh = frozenset(fresh & names)
        self._made_here = {name for name in names if not is_inside(name, self.model)}

    @override
    def forward(self, batch: Batch) -> EncodedWords:
        """Encode the words.

        Args:
            batch: `input_ids`, `attention_mask` and `word_ids` [B, T]; `heads` [B, W], of which
                only the size matters here. (The other methods also need `num_encoded` [B], the
                number of words within the length limit.)
        """
        encoded: EncodedWords = self.model(
            batch["input_ids"],
            batch["attention_mask"],
            batch["word_ids"],
            num_words=batch["heads"].shape[1],
        )
        return encoded

    @override
    def training_loss(self, batch: Batch) -> SummedLoss:
        gold = batch["heads"], batch["relations"]
        loss = self.model.loss(self(batch), _were_encoded(batch), *gold)
        return SummedLoss(loss.total, loss.num_words)

    @override
    def make_metrics(self) -> dict[str, Metric]:
        return {
            "loss": MeanLoss(),
            "uas": AttachmentScore(labelled=False),
            "las": AttachmentScore(),
            "paper_uas": AttachmentScore(labelled=False, root_arcs=False),
            "paper_las": AttachmentScore(root_arcs=False),
        }

    @override
    def evaluate(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        encoded, word_mask = self(batch), _were_encoded(batch)
        gold = batch["heads"], batch["relations"]
        arc_scores = self.model.arc_scores(encoded, word_mask)
        trees = self._trees(batch, arc_scores)
        greedy = greedy_heads(arc_scores, word_mask)
        scores = self.model.relation_scores(encoded, torch.stack([trees, greedy, gold[0]], -1))
        tree = self._parse(batch, trees, scores[:, :, 0])
        paper = greedy, scores[:, :, 1].argmax(-1)
        loss = loss_of_scores(arc_scores, scores[:, :, 2], word_mask, *gold)
        return {
            "loss": (loss.total, loss.num_words),
            "uas": (*tree, *gold),
            "las": (*tree, *gold),
            "paper_uas": (*paper, *gold),
            "paper_las": (*paper, *gold),
        }

    @override
    def predict_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[list[tuple[int, str]]]:
        """Predict head and relation of the words of each sentence, in order."""
        encoded = self(batch)
        trees = self._trees(batch, self.model.arc_scores(encoded, _were_encoded(batch)))
        scores = self.model.relation_scores(encoded, trees.unsqueeze(-1)).squeeze(2)
        parse = self._parse(batch, trees, scores)
        return [
            [
                (head, self.labels[relation])
                for head, relation, is_word in zip(*sentence, strict=True)
                if is_word
            ]
            for sentence in zip(
                parse.heads.tolist(),
                parse.relations.tolist(),
                (batch["heads"] != PADDING).tolist(),
                strict=True,
            )
        ]

    def parse(
        self,
        sentences: Sequence[Sequence[str]],
        max_length: int | None = None,
        batch_size: int = 32,
    ) -> list[list[tuple[int, str]]]:
        """Parse sentences.

        Args:
            sentences: The words of each sentence.
            max_length: Sub-words per sentence at the most, by default as many as the model takes;
                words beyond hang on another one.
            batch_size: Sentences per batch.

        Returns:
            Head and relation of each word of each sentence; heads count from 1, 0 is the root.
        """
        check_words(sentences, 'parse([["A", "sentence", "."]])')
        data = ParsingData(
            self.base_model,
            labels=self.labels,
            max_length=max_length or longest_input(self.model, self.base_model),
            eval_batch_size=batch_size,
        )
        return predict(self, data, [without_tree(words) for words in sentences])

    def _trees(self, batch: Batch, arc_scores: Tensor) -> Tensor:
        """Heads [B, W] of the best trees over what was encoded, the other words hung on them."""
        trees = decode_trees(arc_scores, _were_encoded(batch))
        return complete_trees(trees, batch["heads"] != PADDING)

    def _parse(self, batch: Batch, trees: Tensor, relation_scores: Tensor) -> Parse:
        """Trees with the best relations, and those that the words hung on them have."""
        left_out = (trees >= 0) & ~_were_encoded(batch)
        relations = relation_scores.argmax(-1).masked_fill(left_out, self._number("dep"))
        return Parse(trees, relations.masked_fill(left_out & (trees == 0), self._number("root")))

    def _number(self, relation: str) -> int:
        return self.labels.index(relation) if relation in self.labels else 0


def _were_encoded(batch: Batch) -> Tensor:
    """Which words lie within the length limit, [B, W]."""
    num_encoded: Tensor = batch["num_encoded"]
    places = torch.arange(batch["heads"].shape[1], device=num_encoded.device)
    return places < num_encoded.unsqueeze(1)
