"""Masked language modelling, which makes language fine-tunings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import Metric
from transformers import AutoModelForMaskedLM
from typing_extensions import override

from ltsft.batch import PADDING, Batch
from ltsft.metrics import MeanLoss, Perplexity
from ltsft.modules import untie_output_embeddings
from ltsft.sparse import ScopeRules, SparseFineTuning
from ltsft.sparse.metadata import LANGUAGE_TASK
from ltsft.tasks.base import Task
from ltsft.tasks.loss import SummedLoss, widened


class MaskedLM(Task):
    """Masked language modelling on raw text of a language (Ansell et al., 2022, §3.2 and §4.1).

    The output embedding matrix is separated from the input embeddings and frozen; the rest of the
    head trains whole. Best weights are chosen by `val_loss`, the mean loss per masked token.

    Args:
        **kwargs: Options of every task, see :class:`~ltsft.tasks.Task`.
    """

    auto_class = AutoModelForMaskedLM
    task_name = LANGUAGE_TASK
    trained_slot = "language"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._build()

    @override
    def _check_task(self, name: str, sft: SparseFineTuning) -> None:
        """Nothing: over a task too its own head is a pretrained one."""

    @override
    def _prepare_model(self) -> None:
        untie_output_embeddings(self.model)
        output = self.model.get_output_embeddings()
        self._frozen_output = [
            name
            for name, parameter in self.model.named_parameters()
            # A matrix with a random start that nobody else has must train, and be saved.
            if parameter is output.weight and name not in self._fresh
        ]
        output.weight.requires_grad_(not self._frozen_output)

    @override
    def takes_head_of(self, sft: SparseFineTuning) -> bool:
        return sft.metadata.head != "task"

    @override
    def stays_beside_adapters(self, parameter: str) -> bool:
        """The pretrained head too: all that is pretrained (Ansell et al., 2022, §2.1)."""
        return parameter not in self._fresh

    @override
    def scope_rules(self) -> ScopeRules:
        """As for every task, with the output embedding matrix frozen."""
        rules = super().scope_rules()
        rules.frozen += self._frozen_output
        return rules

    @override
    def forward(self, batch: Batch) -> Tensor:
        """Score the vocabulary for each token.

        Args:
            batch: `input_ids` and `attention_mask` [B, T].

        Returns:
            Logits [B, T, vocabulary].
        """
        output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return cast(Tensor, output.logits)

    @override
    def training_loss(self, batch: Batch) -> SummedLoss:
        return self._loss(batch)

    @override
    def make_metrics(self) -> dict[str, Metric]:
        return {"loss": MeanLoss(), "perplexity": Perplexity()}

    @override
    def evaluate(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        loss = self._loss(batch)
        return {"loss": loss, "perplexity": loss}

    def _loss(self, batch: Batch) -> SummedLoss:
        """Loss of the masked tokens."""
        masked = batch["labels"] != PADDING
        with _only_at(masked, self.model.base_model):
            logits = self(batch).squeeze(0)
        total = cross_entropy(widened(logits), batch["labels"][masked], reduction="sum")
        return SummedLoss(total, masked.sum())


@contextmanager
def _only_at(chosen: Tensor, encoder: nn.Module) -> Iterator[None]:
    """Let whatever lies on top of an encoder see the chosen tokens only, as one sequence.

    Heads treat each token by itself, and scoring a vocabulary costs as much as the whole encoder;
    15% of the tokens are masked, the others need no scores.

    Args:
        chosen: Which tokens, [B, T]; M of them.
        encoder: Returns states [B, T, H] first; heads will see [1, M, H].
    """

    def choose(module: nn.Module, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][chosen].unsqueeze(0)
        return output

    handle = encoder.register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()
