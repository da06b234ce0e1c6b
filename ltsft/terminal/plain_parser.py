"""The parser of commands that have no YAML."""

import argparse
import difflib
import re
from typing import NoReturn

from ltsft.errors import LtsftError


class PlainParser(argparse.ArgumentParser):
    """An argparse parser that raises :class:`LtsftError` where it would print and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise the reason.

        Raises:
            LtsftError: Always.
        """
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        near = (
            difflib.get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        )
        hint = f"did you mean {near[0]}?" if near else f"see `{self.prog} --help`."
        raise LtsftError(f"{message}; {hint}")
