"""One mean loss per optimizer step, however many ranks and micro-batches the step has."""

from collections.abc import Iterator

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from typing_extensions import override

from ltsft.tasks.loss import SummedLoss


class GlobalMean(LightningModule):
    """A module whose loss is the mean over all predictions that an optimizer step asks for.

    Lightning gives each rank and each micro-batch of a step (``accumulate_grad_batches``) the same
    weight. With a mean per micro-batch, a token would count for the more the fewer there are beside
    it, and the same global batch would give other gradients on another number of processes.

    How many predictions a step asks for is known only with its last micro-batch. Until then losses
    are divided by a reference, the number in its first micro-batch over all ranks; after the last
    backward pass, before gradients are clipped, they are multiplied by reference / number. In one
    process, without accumulation, it is the plain mean, bit for bit.

    A scalar of one's own from ``training_step`` is left as it is.

    Example:
        >>> from ltsft.tasks import GlobalMean, loss_where
        >>> class Words(GlobalMean):
        ...     def training_step(self, batch, batch_idx):
        ...         logits, gold = self(batch), batch["labels"]
        ...         return self.global_mean(loss_where(gold >= 0, logits, gold))
    """

    _reference: Tensor | None = None  # what the losses of the step are divided by; `None` outside
    _num_scored: Tensor | int = 0  # predictions of the step that this rank was asked for

    def global_mean(self, loss: SummedLoss) -> Tensor:
        """This micro-batch's part of the loss, to be returned by ``training_step``.

        Args:
            loss: Of the micro-batch, for which it is called once on every rank, if only with a
                count of 0.
        """
        trainer = self.trainer
        num_micro_batches: int = trainer.accumulate_grad_batches
        num_scored = torch.as_tensor(loss.num_scored, device=loss.total.device)
        # Where Lightning sets gradients to 0; or after a resume from the middle of a step.
        if trainer.fit_loop.batch_idx % num_micro_batches == 0 or self._reference is None:
            self._reference = self._over_ranks(num_scored).clamp(min=1)
            self._num_scored = 0
        self._num_scored = self._num_scored + num_scored
        # Lightning divides by the one, and DDP by the other.
        return loss.total * (num_micro_batches * trainer.world_size) / self._reference

    @override
    def on_after_backward(self) -> None:
        """Divide by the number of predictions once all of them are known."""
        reference, self._reference = self._reference, None
        if reference is None or self.trainer.accumulate_grad_batches == 1:
            return
        if self.trainer.fit_loop._should_accumulate():
            self._reference = reference
            return
        assert isinstance(self._num_scored, Tensor)
        num_scored = self._over_ranks(self._num_scored).clamp(min=1)
        for gradient in self._gradients():
            dtype = torch.promote_types(gradient.dtype, torch.float32)
            gradient.mul_(reference.to(dtype) / num_scored)

    def _over_ranks(self, count: Tensor) -> Tensor:
        """Sum over ranks; on the device, so that nothing waits for it."""
        if self.trainer.world_size > 1:
            count = count.clone()
            torch.distributed.all_reduce(count)
        return count

    def _gradients(self) -> Iterator[Tensor]:
        """What optimizers will step by: of whole tensors, or of the entries that are selected."""
        groups = [
            group for optimizer in self.trainer.optimizers for group in optimizer.param_groups
        ]
        for parameter in dict.fromkeys(p for group in groups for p in group["params"]):
            if parameter.grad is not None:
                yield parameter.grad
