"""A dense phase that ends once it would choose the same entries again and again."""

from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ltsft.callbacks.clock import Clock
from ltsft.callbacks.keeper import Keeper
from ltsft.callbacks.stopping import Stop, Validated
from ltsft.callbacks.trainer_loops import has_validation
from ltsft.errors import LtsftError
from ltsft.sparse import Mask


@dataclass
class UntilSettled(Stop):
    """When the set of entries that a dense phase would choose has settled.

    At each validation that is the best so far, the phase's selection chooses K entries, and the set
    is compared with the one before: their overlap is |A ∩ B| / K. (Worse weights are not what the
    phase would select from, unless the selection goes by gradients; a phase's `patience` is for
    them.) The phase ends when several overlaps in a row are large enough. Early-bird tickets (You
    et al., 2020) are found that way: there, the distances between the last five masks are below
    0.1.

    Args:
        overlap: Least overlap of two sets that counts as settled, above 0 and at most 1.
        patience: Number of such overlaps in a row.

    Raises:
        LtsftError: If a value is out of range.

    Example:
        >>> import torch
        >>> settled = UntilSettled(overlap=0.5, patience=1)
        >>> [settled.compare(Mask({"w": torch.tensor(m)})) for m in ([True, False], [True, False])]
        [None, 1.0]
        >>> settled.reached
        True
    """

    overlap: float = 0.9
    patience: int = 2
    _before: dict[str, Tensor] | None = field(default=None, init=False, repr=False)
    _num_in_a_row: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1:
            raise LtsftError(
                "`sparse.until_settled.overlap` is expected to be above 0 and at most 1 (a share "
                f"of the K entries), but got {self.overlap}."
            )
        if self.patience < 1:
            raise LtsftError(
                "`sparse.until_settled.patience` is expected to be 1 or more, but got "
                f"{self.patience}."
            )

    def check(self, clock: Clock, keeper: Keeper, trainer: Trainer) -> None:
        """Refuse to wait for a set of entries where none is ever compared.

        Raises:
            LtsftError: If there is no dense phase, or no validation to compare at.
        """
        selection = clock.program.selection
        if not selection.needs_dense_phase:
            raise LtsftError(
                f"`sparse.until_settled` is expected to be left out with `{selection}`, which has "
                "no dense phase."
            )
        if not has_validation(trainer):
            raise LtsftError(
                "`sparse.until_settled` is expected beside validations, at which sets of entries "
                "are compared, but there are none; give validation data or leave it out."
            )

    def ends(self, validated: Validated) -> bool:
        """Whether the dense phase would choose the same entries again and again."""
        if validated.clock.phase != "dense":
            return False
        if validated.by_weights and not validated.best.is_newest:
            return False  # the phase would select from weights whose entries were compared already
        overlap = self.compare(validated.would_select())
        if overlap is not None:
            trainer = validated.trainer
            rank_zero_info(
                f"In {validated.clock.position(trainer)} {overlap:.2%} of the entries that would "
                "be selected are those of the best weights before."
            )
            for logger in trainer.loggers:
                logger.log_metrics({"selection_overlap": overlap}, step=trainer.global_step)
        return self.reached

    def compare(self, mask: Mask) -> float | None:
        """Compare a set with the one before, and keep it for the next time.

        Args:
            mask: The K entries that would be chosen now.

        Returns:
            The overlap; ``None`` for the first set.
        """
        before, self._before = self._before, {n: i.cpu() for n, i in mask.indices().items()}
        if before is None:
            return None
        common = sum(int(mask[name].flatten().cpu()[at].sum()) for name, at in before.items())
        overlap = common / max(mask.num_selected, 1)
        self._num_in_a_row = self._num_in_a_row + 1 if overlap >= self.overlap else 0
        return overlap

    @property
    def reached(self) -> bool:
        """Whether enough overlaps in a row were large enough."""
        return self._num_in_a_row >= self.patience

    def reset(self) -> None:
        """Forget all sets: before a dense phase begins."""
        self._before, self._num_in_a_row = None, 0

    def state_dict(self) -> dict[str, Any]:
        """The set before and the count, as tensors and primitives."""
        return {"before": self._before, "num_in_a_row": self._num_in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._before, self._num_in_a_row = state["before"], state["num_in_a_row"]
