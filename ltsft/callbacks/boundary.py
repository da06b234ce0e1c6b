"""How Lightning is made to end a phase where it would not end an epoch."""

from lightning.pytorch import Trainer


class Boundary:
    """Lets Lightning validate a phase's last weights and close the epoch, before the next begins.

    Switching phases in the hook after the last batch would make that validation, and any checkpoint
    after it, see the rewound weights under the dense phase's score.
    """

    def __init__(self) -> None:
        self._asked_to_stop = False
        self._validates_every: int | None = None  # the Trainer's own setting, while it is another

    def close(self, trainer: Trainer) -> None:
        """Ask Lightning to end the epoch here, with a validation."""
        if not trainer.should_stop:
            trainer.should_stop = self._asked_to_stop = True
        if trainer.check_val_every_n_epoch is not None and self._validates_every is None:
            self._validates_every, trainer.check_val_every_n_epoch = (
                trainer.check_val_every_n_epoch,
                1,
            )

    def cross(self, trainer: Trainer, *, is_last: bool) -> None:
        """The epoch is closed: go on, unless it was the fit's last or somebody else stopped it."""
        if self._validates_every is not None:
            trainer.check_val_every_n_epoch, self._validates_every = self._validates_every, None
        if self._asked_to_stop and not is_last:
            trainer.should_stop = self._asked_to_stop = False
