"""What is sparse, and nothing else: torch and safetensors only.

Names are imported when they are used, as ``__init__.pyi`` says, so that what a file says of itself
is read without torch.

Read in this order: :mod:`scope` (which parameters take part), :mod:`budget` (how many entries may
move) and :mod:`equivalents`, :mod:`selection` and :mod:`ranking` (which ones), :mod:`mask`,
:mod:`rewinding` (where the sparse phase starts) and :mod:`rounds`, :mod:`program` (the order of all
that), :mod:`holds` (training only those), :mod:`ticket` (Algorithm 1 out of these), :mod:`delta`
and :mod:`fine_tuning` (the result as a value), :mod:`applied` (putting it in place and taking it
off), :mod:`slots` (which models can hold an adapter), :mod:`composition` and :mod:`composed`,
:mod:`file_format`, :mod:`overlaps`; :mod:`ranks` (who else trains) and
:mod:`averaging` (of gradients, with them).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
