"""The ``ltsft`` command; see :mod:`ltsft.terminal.dispatch`."""

import sys

from ltsft.terminal.dispatch import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
