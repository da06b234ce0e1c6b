"""How long a phase is, and what is special in it."""

import math
from dataclasses import dataclass

from ltsft.errors import LtsftError, expect_type


@dataclass
class Phase:
    """Length and regularisation of one phase.

    The length in optimizer steps is the lesser of `max_steps` and `max_epochs`, and at least
    `min_steps` (Ansell et al., 2022, §4.2: the lesser of 100 epochs and 100,000 steps, at least
    30,000). Steps count gradient accumulation and all ranks; an epoch is one pass over the data.

    Args:
        max_steps: Optimizer steps at the most.
        max_epochs: Passes over the training data at the most.
        min_steps: Optimizer steps at the least; wins over `max_epochs`.
        patience: End the phase after this many validations in a row without a new best value of
            the monitored metric. ``None``: never.
        l1: λ of the penalty λ/N · Σ|θᵢ - θ⁰ᵢ| (§3.1). The paper: 0.1 for languages, 0 for tasks.

    Raises:
        LtsftError: If a value is out of range, or the phase would have no length.
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    min_steps: int | None = None
    patience: int | None = None
    l1: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_epochs", "min_steps", "patience"):
            value = getattr(self, name)
            expect_type(name, value, int, f"Phase({name}=100)")
            if value is not None and value < 1:
                raise LtsftError(
                    f"`{name}` of a phase is expected to be 1 or more, but got {value}; leave a "
                    "phase out by the choice of `sparse.selection` (`Random` has no dense phase)."
                )
        if self.max_steps is None and self.max_epochs is None:
            raise LtsftError(
                "a phase is expected to have `max_steps` or `max_epochs`, but got neither; set "
                "`sparse.dense.max_steps` and `sparse.sparse.max_steps`, or the `max_epochs`."
            )
        if self.max_steps is not None and (self.min_steps or 0) > self.max_steps:
            raise LtsftError(
                f"`max_steps` of a phase is expected to be its `min_steps`, {self.min_steps:,}, or "
                f"more, but got {self.max_steps:,}; set both (`sparse.dense.min_steps`, "
                "`sparse.sparse.min_steps`; `null` for none)."
            )
        expect_type("l1", self.l1, (int, float), "Phase(max_steps=100, l1=0.1)")
        if self.l1 < 0:
            raise LtsftError(f"`l1` of a phase is expected to be 0 or more, but got {self.l1}.")

    def num_steps(self, steps_per_epoch: float) -> int:
        """Length in optimizer steps.

        Args:
            steps_per_epoch: Optimizer steps in one pass; infinite for data without a length.

        Raises:
            LtsftError: If only `max_epochs` is given and a pass has no end.

        Example:
            >>> Phase(max_steps=100, max_epochs=3, min_steps=40).num_steps(10)
            40
        """
        lengths = [self.max_steps] if self.max_steps is not None else []
        if self.max_epochs is not None and not math.isinf(steps_per_epoch):
            lengths.append(self.max_epochs * int(steps_per_epoch))
        if not lengths:
            raise LtsftError(
                "a phase is expected to have `max_steps` where the training data have no length, "
                "but got only `max_epochs`."
            )
        return max(min(lengths), self.min_steps or 0)
