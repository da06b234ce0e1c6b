"""What may end a phase before its length: asked after each validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning.pytorch import Trainer

from ltsft.callbacks.best_weights import BestWeights
from ltsft.callbacks.clock import Clock
from ltsft.callbacks.keeper import Keeper
from ltsft.errors import LtsftError
from ltsft.sparse import Mask


@dataclass(frozen=True)
class Validated:
    """A validation that is over, as a :class:`Stop` sees it.

    Args:
        clock: Where in the program it was.
        best: The best weights so far, and whether they are these.
        would_select: Chooses the entries that the phase would select from the weights now.
        by_weights: Whether that choice depends on the weights at all.
        trainer: For where to log.
    """

    clock: Clock
    best: BestWeights
    would_select: Callable[[], Mask]
    by_weights: bool
    trainer: Trainer


class Stop:
    """A rule by which a phase ends early; this one never ends any."""

    works_on_shards: ClassVar[bool] = False
    """Whether ranks that each hold some rows of every tensor (FSDP2) decide alike."""

    def check(self, clock: Clock, keeper: Keeper, trainer: Trainer) -> None:
        """Training begins: refuse settings by which the rule could never act.

        Raises:
            LtsftError: If so.
        """

    def ends(self, validated: Validated) -> bool:
        """Whether the phase is over with this validation."""
        return False

    def reset(self) -> None:
        """A phase begins."""

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far, tensors and primitives only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""


class Patience(Stop):
    """Ends a phase after so many validations in a row without a new best, as its settings say."""

    works_on_shards = True

    def check(self, clock: Clock, keeper: Keeper, trainer: Trainer) -> None:
        """Refuse patience where there is no metric to have it with.

        Raises:
            LtsftError: If so.
        """
        for name in {leg.phase: None for leg in clock.program}:
            if clock.phases[name].patience is not None and not keeper.keeps:
                raise LtsftError(
                    f"`sparse.{name}.patience` is expected beside a metric of a validation that "
                    "the best weights are chosen by, but there is none; give validation data and "
                    "`sparse.monitor`, or leave it out."
                )

    def ends(self, validated: Validated) -> bool:  # noqa: D102
        patience = validated.clock.settings.patience
        return patience is not None and validated.best.num_since >= patience
