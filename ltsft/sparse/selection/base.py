"""What a criterion promises."""

from abc import ABC, abstractmethod
from typing import Literal

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.candidates import Candidates
from ltsft.sparse.selection.observer import Observer


class Selection(Observer, ABC):
    """A criterion that chooses the entries that may move in the sparse phase.

    Only :meth:`select` has to be written, and :attr:`looks_at` where the choice depends on other
    than the weights that a dense phase leads to. A criterion that has to see the
    dense phase while it runs (gradients, gates on the weights) overrides methods of
    :class:`Observer` too.
    """

    looks_at: Literal["nothing", "weights", "gradients"] = "weights"
    """What the choice depends on: names and sizes alone (``nothing``: no dense phase is run); the
    ``weights`` that a dense phase led to; or ``gradients``, what was seen along a dense phase."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.looks_at not in ("nothing", "weights", "gradients"):
            raise LtsftError(
                f"`{cls.__name__}.looks_at` is expected to be `nothing`, `weights` or `gradients`, "
                f"but got {cls.looks_at!r}."
            )

    trains_in_dense_phase: bool = True
    """Whether weights move in the dense phase, and a rewinding may thus speak of them."""

    needs_budget: bool = True
    """Whether K is given from outside; otherwise the criterion itself implies it."""

    needs_entries: bool = True
    """Whether there must be maskable entries to choose from."""

    works_on_shards: bool = False
    """Whether it looks at each entry alone, in `candidates` and nowhere else; ranks that each hold
    some rows of every tensor (FSDP2) then choose together what one process would."""

    @property
    def needs_dense_phase(self) -> bool:
        """Whether there has to be a dense phase before the choice."""
        return self.looks_at != "nothing"

    @property
    def places_weights(self) -> bool:
        """Whether :meth:`place` puts weights of its own in place."""
        return type(self).place is not Observer.place

    def __str__(self) -> str:
        """The name that logs and metadata give it; with settings where it has any."""
        return type(self).__name__

    @abstractmethod
    def select(self, candidates: Candidates, num_params: int) -> Mask:
        """Choose the entries.

        Args:
            candidates: The maskable parameters, their initial and their current values.
            num_params: K, the number of entries to choose (ignored unless `needs_budget`).

        Returns:
            The mask over the maskable parameters, with exactly K entries True.
        """

    def num_unchanged(self, candidates: Candidates, mask: Mask) -> int:
        """How many selected entries are as before the dense phase, and were chosen by chance."""
        here = sum(
            int((change[mask[name].to(change.device)] == 0).sum())
            for name, change in candidates.changes()
        )
        return sum(candidates.ranks.of_shards(here))

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """What is worth a word in the log about a choice; begins with a separator."""
        return ""
