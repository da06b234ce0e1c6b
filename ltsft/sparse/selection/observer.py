"""What a criterion may see, and do, while a dense phase runs."""

from typing import Any

from ltsft.sparse.selection.candidates import Candidates


class Observer:
    """The moments of a dense phase; a criterion overrides those that it needs.

    Whoever trains calls them, in the dense phase only: :meth:`place`, forward and backward pass,
    :meth:`remove`, and before each optimizer step :meth:`observe`. Weights, gradients and state are
    the same on all ranks of a distributed run, and have to stay so.
    """

    def place(self, candidates: Candidates, training: bool) -> None:
        """Put in place the weights that a forward pass is to use.

        Called before each batch of the dense phase (`training`) and before each validation in it;
        also before :meth:`select`, unless the weights of a validation were kept as the best.
        """

    def remove(self, candidates: Candidates) -> None:
        """Take off what :meth:`place` put in place.

        Called after each batch and after each validation, once the weights were kept. It may be
        called twice, and not before :meth:`observe`, which has to do it first.
        """

    def observe(self, candidates: Candidates) -> None:
        """See the gradients of an optimizer step, just before it is taken.

        They are in ``.grad``: summed over accumulated batches, averaged over ranks, unscaled and
        not yet clipped.
        """

    def reset(self) -> None:
        """Forget what was seen: before a dense phase begins, and after the choice is made."""

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far, tensors and primitives only; saved in checkpoints."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
