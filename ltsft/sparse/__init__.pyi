from .applied import Applied
from .averaging import Averaging
from .budget import Budget
from .delta import SparseDelta
from .equivalents import EncoderSize, Equivalents
from .fine_tuning import SparseFineTuning
from .holds import Compact, Hold, Masked
from .l1 import add_l1_gradient
from .mask import Mask
from .metadata import Metadata
from .overlaps import Overlap, overlap
from .program import Leg, PhaseName, Program
from .ranking import select_largest
from .ranks import Ranks, Replicas, Shards, current_ranks
from .rewinding import LearningRate, Prune, Rewinding, Sign, ToStart, ToStep
from .rounds import Growing, Rounds, Shrinking
from .scope import Scope, ScopeRules, freeze
from .selection import (
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
from .ticket import Ticket

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
    "Shards",
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
