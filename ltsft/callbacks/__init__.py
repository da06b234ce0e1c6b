"""Lightning callbacks: the two phases of a sparse fine-tuning, and languages at test time."""

from ltsft.callbacks.checkpoint_io import WholeCheckpointIO
from ltsft.callbacks.language_sfts import LanguageSfts
from ltsft.callbacks.newest import TimedCheckpoint
from ltsft.callbacks.phase import Phase
from ltsft.callbacks.progress import PhaseProgressBar
from ltsft.callbacks.sharding import FullySharded
from ltsft.callbacks.signals import Interrupted, SaveOnSignal
from ltsft.callbacks.sparse_mask import SparseMaskCallback
from ltsft.callbacks.until_settled import UntilSettled

__all__ = [
    "FullySharded",
    "Interrupted",
    "LanguageSfts",
    "Phase",
    "PhaseProgressBar",
    "SaveOnSignal",
    "SparseMaskCallback",
    "TimedCheckpoint",
    "UntilSettled",
    "WholeCheckpointIO",
]
