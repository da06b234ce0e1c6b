"""How long a fit will take."""

import time
from datetime import timedelta


class TimeLeft:
    """Time until the end of a fit, if it goes on as fast as it went, validations included."""

    def __init__(self) -> None:
        self.start(0)

    def start(self, step: int) -> None:
        """Note that training begins.

        Args:
            step: Optimizer steps before, if it goes on from a checkpoint.
        """
        self._began = time.monotonic()
        self._first_step = step

    def __call__(self, step: int, num_left: int) -> str:
        """The time left, e.g. ``0:12:03``; a question mark before the first step.

        Args:
            step: Optimizer steps by now.
            num_left: Optimizer steps to come.
        """
        if step <= self._first_step:
            return "?"
        seconds_per_step = (time.monotonic() - self._began) / (step - self._first_step)
        return str(timedelta(seconds=round(seconds_per_step * num_left)))
