"""Composable sparse fine-tuning for cross-lingual transfer (Ansell et al., ACL 2022).

The names that people need first are here, each imported when it is used, so that ``import ltsft``
costs nothing:

* the method: `Ticket`, `Budget`, `ScopeRules`, `LargestChange`, `Random`, `Masked`;
* with Lightning: `SparseMaskCallback`, `Phase`, `LanguageSfts`, `PhaseProgressBar`;
* its result: `SparseFineTuning`, `Mask`, `overlap`; `LtsftError` for what cannot be as asked.

The rooms of the package: ``ltsft.sparse`` (what is sparse, torch only), ``ltsft.callbacks`` (the
phases, Lightning only), ``ltsft.tasks``, ``ltsft.modules``, ``ltsft.data``, ``ltsft.metrics``,
``ltsft.exchange`` (other projects' files), ``ltsft.study``, ``ltsft.terminal`` and ``ltsft.cli``.

Example:
    >>> from ltsft import Budget
    >>> Budget(density=0.05)
    Budget(num_params=None, density=0.05, reduction_factor=None, invertible=False)
"""

from typing import TYPE_CHECKING, Any

from ltsft.version import __version__ as __version__

if TYPE_CHECKING:
    from ltsft.callbacks import LanguageSfts, Phase, PhaseProgressBar, SparseMaskCallback
    from ltsft.errors import LtsftError
    from ltsft.sparse import (
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

_HOMES = {
    "ltsft.callbacks": {"LanguageSfts", "Phase", "PhaseProgressBar", "SparseMaskCallback"},
    "ltsft.errors": {"LtsftError"},
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "ltsft.sparse")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
