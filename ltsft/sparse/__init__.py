"""What is sparse, and nothing else: torch and safetensors only.

Read in this order: :mod:`scope` (which parameters take part), :mod:`budget` (how many entries may
move) and :mod:`equivalents`, :mod:`selection` and :mod:`ranking` (which ones), :mod:`mask`,
:mod:`rewinding` (where the sparse phase starts) and :mod:`rounds`, :mod:`freezer` (training only
those), :mod:`fine_tuning` (the result as a value), :mod:`applied` (putting it in place and taking
it off), :mod:`slots` (which models can hold an adapter), :mod:`composition`, :mod:`file_format`,
:mod:`overlap`.
"""

from ltsft.sparse.applied import Applied
from ltsft.sparse.budget import Budget
from ltsft.sparse.equivalents import EncoderSize, Equivalents
from ltsft.sparse.fine_tuning import SparseDelta, SparseFineTuning
from ltsft.sparse.freezer import Freezer
from ltsft.sparse.mask import Mask
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.overlap import Overlap, overlap
from ltsft.sparse.ranking import select_largest
from ltsft.sparse.rewinding import LearningRate, Prune, Rewinding, Sign, ToStart, ToStep
from ltsft.sparse.rounds import Growing, Rounds, Shrinking
from ltsft.sparse.scope import Scope, ScopeRules
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

__all__ = [
    "AllEntries",
    "Applied",
    "Biases",
    "Budget",
    "Candidates",
    "ChangeTimesMagnitude",
    "DiffPruning",
    "EncoderSize",
    "Equivalents",
    "FisherInformation",
    "Freezer",
    "Growing",
    "LargestChange",
    "LearningRate",
    "LowRankChange",
    "Mask",
    "Metadata",
    "NoEntries",
    "Overlap",
    "Prune",
    "Quota",
    "Random",
    "Rewinding",
    "Rounds",
    "Scope",
    "ScopeRules",
    "Selection",
    "Shrinking",
    "Sign",
    "SparseDelta",
    "SparseFineTuning",
    "ToStart",
    "ToStep",
    "overlap",
    "select_largest",
]
