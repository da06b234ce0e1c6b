"""Composable sparse fine-tuning for cross-lingual transfer (Ansell et al., ACL 2022).

The package's rooms: ``ltsft.sparse`` (what is sparse, torch only), ``ltsft.callbacks`` (the two
phases, Lightning only), ``ltsft.tasks``, ``ltsft.modules``, ``ltsft.data``, ``ltsft.metrics``,
``ltsft.cli`` and ``ltsft.study``. Nothing heavy is imported here.
"""

from ltsft.version import __version__ as __version__
