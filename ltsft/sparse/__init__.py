"""What is sparse, and nothing else: torch and safetensors only.

Read in this order: :mod:`scope` (which parameters take part), :mod:`budget` (how many entries may
move) and :mod:`equivalents`, :mod:`selection` and :mod:`ranking` (which ones), :mod:`mask`,
:mod:`rewinding` (where the sparse phase starts) and :mod:`rounds`, :mod:`program` (the order of all
that), :mod:`holds` (training only those), :mod:`ticket` (Algorithm 1 out of these), :mod:`delta`
and :mod:`fine_tuning` (the result as a value), :mod:`applied` (putting it in place and taking it
off), :mod:`slots` (which models can hold an adapter), :mod:`composition` and :mod:`composed`,
:mod:`file_format`, :mod:`overlap`; :mod:`ranks` (who else trains) and
:mod:`averaging` (of gradients, with them).
"""

from ltsft.sparse.applied import Applied
from ltsft.sparse.averaging import Averaging
from ltsft.sparse.budget import Budget
from ltsft.sparse.delta import SparseDelta
from ltsft.sparse.equivalents import EncoderSize, Equivalents
from ltsft.sparse.fine_tuning import SparseFineTuning
from ltsft.sparse.holds import Compact, Hold, Masked
from ltsft.sparse.l1 import add_l1_gradient
from ltsft.sparse.mask import Mask
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.overlap import Overlap, overlap
from ltsft.sparse.program import Leg, PhaseName, Program
from ltsft.sparse.ranking import select_largest
from ltsft.sparse.ranks import Ranks, Replicas, current_ranks
from ltsft.sparse.rewinding import LearningRate, Prune, Rewinding, Sign, ToStart, ToStep
from ltsft.sparse.rounds import Growing, Rounds, Shrinking
from ltsft.sparse.scope import Scope, ScopeRules, freeze
from ltsft.sparse.selection import (
    AllEntries,
    Biases,
    Candidates,
    ChangeTimesMagnitude,
    DiffPruning,
    FisherInformation,
    LargestChange,
    LowRankChange,
    NoEntries,
    Quota,
    Random,
    Selection,
)
from ltsft.sparse.ticket import Ticket

__all__ = [
    "AllEntries",
    "Applied",
    "Averaging",
    "Biases",
    "Budget",
    "Candidates",
    "ChangeTimesMagnitude",
    "Compact",
    "DiffPruning",
    "EncoderSize",
    "Equivalents",
    "FisherInformation",
    "Growing",
    "Hold",
    "LargestChange",
    "LearningRate",
    "Leg",
    "LowRankChange",
    "Mask",
    "Masked",
    "Metadata",
    "NoEntries",
    "Overlap",
    "PhaseName",
    "Program",
    "Prune",
    "Quota",
    "Random",
    "Ranks",
    "Replicas",
    "Rewinding",
    "Rounds",
    "Scope",
    "ScopeRules",
    "Selection",
    "Shrinking",
    "Sign",
    "SparseDelta",
    "SparseFineTuning",
    "Ticket",
    "ToStart",
    "ToStep",
    "add_l1_gradient",
    "current_ranks",
    "freeze",
    "overlap",
    "select_largest",
]
