"""Which K entries may move: criteria as small objects.

Read :mod:`candidates`, :mod:`observer` and :mod:`base` first; every other module is one criterion.
"""

from ltsft.sparse.selection.all_or_none import AllEntries, NoEntries
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.biases import Biases
from ltsft.sparse.selection.candidates import Candidates
from ltsft.sparse.selection.change_times_magnitude import ChangeTimesMagnitude
from ltsft.sparse.selection.diff_pruning import DiffPruning
from ltsft.sparse.selection.fisher_information import FisherInformation
from ltsft.sparse.selection.largest_change import LargestChange
from ltsft.sparse.selection.low_rank_change import LowRankChange
from ltsft.sparse.selection.observer import Observer
from ltsft.sparse.selection.quota import Quota
from ltsft.sparse.selection.random import Random

__all__ = [
    "AllEntries",
    "Biases",
    "Candidates",
    "ChangeTimesMagnitude",
    "DiffPruning",
    "FisherInformation",
    "LargestChange",
    "LowRankChange",
    "NoEntries",
    "Observer",
    "Quota",
    "Random",
    "Selection",
]
