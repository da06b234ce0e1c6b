"""Training K entries of a dense model while every other one stays bit for bit as it was."""

from ltsft.sparse.holds.base import Hold
from ltsft.sparse.holds.compact import Compact
from ltsft.sparse.holds.masked import Masked

__all__ = ["Compact", "Hold", "Masked"]
