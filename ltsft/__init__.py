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

import lazy_loader

from ltsft.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
