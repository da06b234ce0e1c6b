from .callbacks import LanguageSfts, Phase, PhaseProgressBar, SparseMaskCallback
from .errors import LtsftError
from .sparse import (
    Budget,
    LargestChange,
    Mask,
    Masked,
    Random,
    ScopeRules,
    SparseFineTuning,
    Ticket,
    overlap,
)

__version__: str

__all__ = [
    "Budget",
    "LanguageSfts",
    "LargestChange",
    "LtsftError",
    "Mask",
    "Masked",
    "Phase",
    "PhaseProgressBar",
    "Random",
    "ScopeRules",
    "SparseFineTuning",
    "SparseMaskCallback",
    "Ticket",
    "overlap",
]
