"""The entries that the loss is most, or least, sensitive to: FISH masks."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask
from ltsft.sparse.ranking import ascending
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


class FisherInformation(Selection):
    """The K entries with the most (or least) Fisher information.

    FISH masks (Sung et al., 2021): the empirical Fisher information of a parameter, the mean over N
    examples of its squared gradient of the loss at the true labels, taken at θ⁰. The gradients are
    those of the dense phase's optimizer steps: a step on one example gives the paper's mean,
    a step on a larger batch the square of the batch's mean gradient. Ties as in
    :func:`~ltsft.sparse.ranking.select_largest`.

    Args:
        sensitivity: Whether the entries with the ``most`` or the ``least`` information may move.
            Entries without any gradient, such as embeddings of words that never occur, are the
            least sensitive ones.
        at_start: Put all weights, heads too, back to their start before each batch: there the
            paper takes all its gradients, though without dropout, as said above. The dense phase is
            then no training but N examples long: the paper's 1,024 are ``dense.max_steps`` · batch
            size. ``False``: gather the gradients along a dense training.
    """

    looks_at = "gradients"

    def __init__(
        self, sensitivity: Literal["most", "least"] = "most", at_start: bool = True
    ) -> None:
        if sensitivity not in ("most", "least"):
            raise LtsftError(
                "`sensitivity` of `FisherInformation` is expected to be `most` or `least`, but got "
                f"{sensitivity!r}."
            )
        self.sensitivity = sensitivity
        self.at_start = at_start
        self.trains_in_dense_phase = not at_start
        self.reset()

    @property
    def places_weights(self) -> bool:  # noqa: D102
        return self.at_start

    def __str__(self) -> str:
        along = "" if self.at_start else ", along training"
        return f"{type(self).__name__}({self.sensitivity}{along})"

    def reset(self) -> None:  # noqa: D102
        self._sums: dict[str, Tensor] = {}
        self._num_steps = 0
        self._num_skipped = 0

    @torch.no_grad()
    def place(self, candidates: Candidates, training: bool) -> None:
        """Put the weights back to their start before each batch."""
        if training and self.at_start:
            for name, parameter in candidates.trained():
                parameter.copy_(candidates.initial[name])

    @torch.no_grad()
    def observe(self, candidates: Candidates) -> None:
        """Add up the squared gradients of a step, unless one of anything trained is not finite."""
        gradients = (parameter.grad for _, parameter in candidates.trained())
        if not all(bool(torch.isfinite(g).all()) for g in gradients if g is not None):
            self._num_skipped += 1
            return
        dtype = candidates.dtype
        for name, parameter in candidates.parameters():
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(parameter, dtype=dtype)
            if parameter.grad is not None:
                self._sums[name] = self._sums[name].to(parameter.device)
                self._sums[name] += parameter.grad.to(dtype).square()
        self._num_steps += 1

    def select(self, candidates: Candidates, num_params: int) -> Mask:  # noqa: D102
        if self._num_skipped and not self._num_steps:
            raise LtsftError(
                "`FisherInformation` is expected to have seen finite gradients, but all "
                f"{self._num_skipped} steps had NaN or infinite ones; training has probably "
                "diverged: lower the learning rate or clip gradients "
                "(`trainer.gradient_clip_val: 1.0`); with `trainer.precision: 16-mixed`, whose "
                "first steps overflow, also lengthen the phase (`sparse.dense`)."
            )
        if not self._num_steps:
            raise LtsftError(
                "`FisherInformation` is expected to have seen gradients, but no step was taken; "
                "call `observe` after each backward pass, as `SparseMaskCallback` does."
            )
        scores = self.most if self.sensitivity == "most" else self.least
        return candidates.largest(lambda: scores(candidates), num_params)

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """How many steps had no finite gradients, if any."""
        if not self._num_skipped:
            return ""
        total = self._num_steps + self._num_skipped
        return f"; without {self._num_skipped} of {total} steps, whose gradients were not finite"

    def most(self, candidates: Candidates) -> Iterator[tuple[str, Tensor]]:
        """Name and information of each maskable parameter."""
        return ((n, self._sums[n] / self._num_steps) for n, _ in candidates.parameters())

    def least(self, candidates: Candidates) -> Iterator[tuple[str, Tensor]]:
        """Name and scores that are the larger the less information there is."""
        return ((name, ascending(score)) for name, score in self.most(candidates))

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {
            "sums": self._sums,
            "num_steps": self._num_steps,
            "num_skipped": self._num_skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: D102
        self._sums, self._num_steps = dict(state["sums"]), state["num_steps"]
        self._num_skipped = state["num_skipped"]
