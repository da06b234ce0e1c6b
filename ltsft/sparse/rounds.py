"""Selecting and rewinding several times, with K divided over the rounds."""

from abc import ABC, abstractmethod
from typing import ClassVar

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.mask import Mask


class Rounds(ABC):
    """How the K entries are found in several rounds, each with a dense phase and a selection.

    Args:
        num: Number of rounds.

    Raises:
        LtsftError: If there is none.
    """

    sparse_between: ClassVar[bool]
    """Whether a sparse phase follows each selection, and the next round starts from its weights
    with everything free to move again. Otherwise rounds follow each other directly, each training
    only what the one before left, and the one sparse phase comes last."""

    def __init__(self, num: int) -> None:
        expect_type("sparse.rounds.num", num, int, "Growing(2)")
        if num < 1:
            raise LtsftError(f"`sparse.rounds.num` is expected to be 1 or more, but got {num}.")
        self.num = num

    def __str__(self) -> str:
        """Name and number, as in logs and metadata."""
        return f"{type(self).__name__}({self.num})"

    @abstractmethod
    def num_selected(self, num_maskable: int, num_params: int) -> list[int]:
        """Number of entries to select in each round.

        Args:
            num_maskable: N, entries at the start.
            num_params: K, entries after the last round, exactly.
        """

    @abstractmethod
    def within(self, mask: Mask) -> Mask:
        """The entries to choose from, after the rounds that gave `mask`."""

    @abstractmethod
    def joined(self, mask: Mask, chosen: Mask) -> Mask:
        """The mask once a further round has chosen among them."""


class Growing(Rounds):
    """Each round adds its share of the K entries, and trains all that were added so far.

    As in the published code of Ansell et al. (2022): a round trains everything, selects the entries
    that changed most among those not selected yet, puts every parameter back to where *the round*
    began, and trains what is selected by then. What earlier rounds learned is kept. The shares are
    K / n, the first ones larger by 1 where that is no whole number, so that they sum to exactly K.

    Args:
        num: n.

    Example:
        >>> Growing(3).num_selected(1000, 11)
        [4, 4, 3]
    """

    sparse_between = True

    def num_selected(self, num_maskable: int, num_params: int) -> list[int]:  # noqa: D102
        share, rest = divmod(num_params, self.num)
        return [share + (number < rest) for number in range(self.num)]

    def within(self, mask: Mask) -> Mask:  # noqa: D102
        return ~mask

    def joined(self, mask: Mask, chosen: Mask) -> Mask:  # noqa: D102
        return mask | chosen


class Shrinking(Rounds):
    """Each round keeps the same share of the entries that the one before left, the last exactly K.

    Iterative pruning as in Frankle and Carbin (2019), §2, who keep (K / N) to the power of 1 / n in
    each of n rounds.

    Args:
        num: n.

    Example:
        >>> Shrinking(2).num_selected(1000, 10), Shrinking(1).num_selected(1000, 10)
        ([100, 10], [10])
    """

    sparse_between = False

    def num_selected(self, num_maskable: int, num_params: int) -> list[int]:  # noqa: D102
        share = num_params / max(num_maskable, 1)
        left = [round(num_maskable * share ** (n / self.num)) for n in range(1, self.num)]
        return [*left, num_params]

    def within(self, mask: Mask) -> Mask:  # noqa: D102
        return mask

    def joined(self, mask: Mask, chosen: Mask) -> Mask:  # noqa: D102
        return chosen
