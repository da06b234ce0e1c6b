"""The random states of all ranks, from a checkpoint to the first batch of a resumed run."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from ltsft.callbacks import random_state
from ltsft.sparse import current_ranks


class ResumedRandom:
    """Puts random state back, as often as it takes until the first batch of a resumed run.

    A loader draws its seed when its iterator is made. On resuming after a whole pass that is before
    ``on_fit_start``, when data were set up early for the phases' lengths; on resuming from the
    validation at the end of a pass it is once more after ``on_train_epoch_start``. Each time the
    draw must come from the saved state.
    """

    def __init__(self) -> None:
        self._of_ranks: list[dict[str, Any]] = []

    @staticmethod
    def state_dict() -> list[dict[str, Any]]:
        """What to save: each rank's state as it is now."""
        return current_ranks().gather(random_state.capture())

    def load_state_dict(self, of_ranks: list[dict[str, Any]]) -> None:
        """Take the states that were saved."""
        self._of_ranks = of_ranks

    def forget(self) -> None:
        """The first batch has run: from now on nothing is put back."""
        self._of_ranks = []

    def restore(self, trainer: Trainer) -> None:
        """Put this rank's state back, if the run was resumed and has had no batch."""
        if not self._of_ranks:
            return
        if len(self._of_ranks) != trainer.world_size:
            rank_zero_warn(
                f"The checkpoint is of {len(self._of_ranks)} ranks and this run has "
                f"{trainer.world_size}: random states start afresh."
            )
            self.forget()
            return
        random_state.restore(self._of_ranks[trainer.global_rank])

    def restart_loader(self, trainer: Trainer) -> None:
        """Let the training loader of a resumed run draw its seed from the state there is now."""
        if self._of_ranks and trainer.fit_loop._data_fetcher is not None:
            iter(trainer.fit_loop._data_fetcher)

    def load_loader(self, trainer: Trainer) -> None:
        """Give a training loader that can be resumed its state, where Lightning no longer does.

        It does when it sets up data, which was before it knew of any state where phases are counted
        in passes; and not at all from a checkpoint of the end of a pass.
        """
        loop = trainer.fit_loop
        states = loop._combined_loader_states_to_load
        if states and loop._combined_loader is not None and loop._data_fetcher is not None:
            self.restore(trainer)
            loop._combined_loader._load_state_dicts(states)
            loop._combined_loader_states_to_load = []
            iter(loop._data_fetcher)
