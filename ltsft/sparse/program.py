"""The program of a fit: which phases it runs, in which order, and where it selects.

Made once, before anything trains, from how entries are selected, in how many rounds, and where the
sparse phase starts. The place in it is the only counter of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

from ltsft.errors import LtsftError
from ltsft.sparse.rewinding import Rewinding
from ltsft.sparse.rounds import Rounds
from ltsft.sparse.selection import Selection

PhaseName = Literal["dense", "sparse"]


@dataclass(frozen=True)
class Leg:
    """One phase of one round: what a program is made of.

    Args:
        phase: ``dense``: entries move that are not selected; ``sparse``: only those that are.
        round: Number of its round, from 0.
        selects: Whether its end chooses entries, and the weights are rewound then.
        holds: Whether the entries that are not selected by then are held at their start.
        begins_round: Whether the weights at its beginning are what its round starts from, instead
            of those before training.
        first_step: Optimizer step of its schedule at which it begins.
    """

    phase: PhaseName
    round: int = 0
    selects: bool = False
    holds: bool = False
    begins_round: bool = False
    first_step: int = 0


class Program(Sequence[Leg]):
    """The legs of a fit, in order: Algorithm 1 of Ansell et al. (2022), §3.1, and its variants.

    * As in the paper: dense, select, rewind, sparse.
    * A selection without a dense phase (``Random``): select, sparse.
    * ``Prune``: dense, select, and no sparse phase.
    * ``Growing(2)``: dense, select, rewind, sparse, twice; the second from what the first left.
    * ``Shrinking(2)``: dense, select, rewind, twice, then sparse.

    Args:
        selection: How entries are chosen.
        rounds: In how many rounds.
        rewinding: Where what follows a selection starts.

    Raises:
        LtsftError: If they cannot go together.

    Example:
        >>> from ltsft.sparse import Growing, LargestChange, Random, ToStart
        >>> print(Program(LargestChange(), Growing(1), ToStart()))
        dense, select by LargestChange, rewind by ToStart, sparse
        >>> print(Program(Random(), Growing(1), ToStart()))
        select by Random, sparse
    """

    def __init__(self, selection: Selection, rounds: Rounds, rewinding: Rewinding) -> None:
        _check_rewinding(rewinding, selection)
        _check_rounds(rounds, selection, rewinding)
        self.selection, self.rounds, self.rewinding = selection, rounds, rewinding
        legs: list[Leg] = []
        for number in range(rounds.num):
            last = number + 1 == rounds.num
            if selection.needs_dense_phase:
                legs.append(
                    Leg(
                        "dense",
                        number,
                        selects=True,
                        holds=number > 0 and not rounds.sparse_between,
                        begins_round=number > 0 and rounds.sparse_between,
                        first_step=_step_after(legs, rewinding),
                    )
                )
            if (rounds.sparse_between or last) and rewinding.needs_sparse_phase:
                first_step = _step_after(legs, rewinding)
                legs.append(Leg("sparse", number, holds=True, first_step=first_step))
        self._legs = tuple(legs)

    def num_selected(self, leg: Leg, num_maskable: int, num_params: int) -> int:
        """Number of entries to select in the round of a leg.

        Args:
            leg: One of this program's.
            num_maskable: N, maskable entries.
            num_params: K, over all rounds.

        Returns:
            The round's share of K; 0 where the selection implies it.
        """
        if not self.selection.needs_budget:
            return 0
        return self.rounds.num_selected(num_maskable, num_params)[leg.round]

    @property
    def selects_first(self) -> bool:
        """Whether entries are chosen before anything trains."""
        return self[0].phase == "sparse"

    @overload
    def __getitem__(self, place: int) -> Leg: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Leg]: ...
    def __getitem__(self, place: int | slice) -> Leg | Sequence[Leg]:
        return self._legs[place]

    def __len__(self) -> int:
        return len(self._legs)

    def __str__(self) -> str:
        """The whole program on one line, as in the log."""
        steps = [f"select by {self.selection}"] if self.selects_first else []
        for leg in self:
            steps.append(leg.phase)
            if leg.selects:
                steps += [f"select by {self.selection}", f"rewind by {self.rewinding}"]
        return ", ".join(steps)


def _step_after(legs: list[Leg], rewinding: Rewinding) -> int:
    """The step of its schedule at which the next leg begins: that of the rewinding before it."""
    return rewinding.step if legs and legs[-1].selects else 0


def _check_rewinding(rewinding: Rewinding, selection: Selection) -> None:
    """Refuse a rewinding to what a dense phase trained, where it trains nothing."""
    if rewinding.uses_dense_phase and not selection.needs_dense_phase:
        raise LtsftError(
            f"`sparse.rewinding` is expected to be left out with `{type(selection).__name__}`, "
            f"which has no dense phase, but got `{type(rewinding).__name__}`."
        )
    if rewinding.uses_dense_phase and not selection.trains_in_dense_phase:
        raise LtsftError(
            f"`sparse.rewinding` is expected to be `ToStart` with `{selection}`, which keeps the "
            "weights at their start in the dense phase (`at_start: false` lets them train), but "
            f"got `{type(rewinding).__name__}`."
        )


def _check_rounds(rounds: Rounds, selection: Selection, rewinding: Rewinding) -> None:
    """Refuse several rounds where there is nothing to divide, or no sparse phase between."""
    if rounds.num == 1:
        return
    if not (selection.needs_dense_phase and selection.needs_budget):
        raise LtsftError(
            f"`sparse.rounds` is expected to be left out with `{selection}`, which has no dense "
            f"phase or no budget, but got {rounds}."
        )
    if rounds.sparse_between and not rewinding.needs_sparse_phase:
        raise LtsftError(
            f"`sparse.rounds` is expected to be `Shrinking` with `{type(rewinding).__name__}`, "
            f"which leaves out sparse phases, but got {rounds}."
        )
