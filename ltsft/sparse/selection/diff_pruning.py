"""Entries that survive an L0 penalty: DiffPruning."""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.sparse import hard_concrete
from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.candidates import Candidates
from ltsft.sparse.selection.largest_change import LargestChange


class DiffPruning(LargestChange):
    """The K entries with the largest |E[z] ⊙ w| of a difference z ⊙ w trained under an L0 penalty.

    DiffPruning (Guo et al., 2021). In the dense phase the weights of a forward pass are
    θ = θ⁰ + z ⊙ w; each entry's gate z, between 0 and 1, is drawn anew for each optimizer step from
    the hard concrete distribution with a location α of its own, and E[loss] + λ Σ P(z ≠ 0) is
    minimised over w and α. The module's optimizer trains w: between batches the parameters hold
    θ⁰ + w, and their gradient g becomes g ⊙ z. An AdamW of this object trains α, with the gradient
    g ⊙ w ⊙ dz/dα + λ dP(z ≠ 0)/dα. Validations use the mean gates, θ⁰ + E[z] ⊙ w; so what is kept
    as best, and ranked, is E[z] ⊙ w in the precision of the weights.

    The published procedure then prunes by size to the budget, fixes the mask and trains once more,
    from w. Here the K entries are exact (no threshold), and the sparse phase rewinds to θ⁰ as for
    any other selection. Memory beside full fine-tuning, per maskable entry: α with its gradient and
    two moments, and a copy of the weights during a batch. Ties as in
    :func:`~ltsft.sparse.ranking.select_largest`.

    Not for modules with several optimizers.

    Args:
        l0: λ, a factor of the *sum* over entries: it has to be chosen anew for another model size.
            The default is the authors', for a BERT large and 0.5% of its entries.
        alpha_start: α of all gates at the start; 5 opens nearly all (P(z = 0) = 0.7%).
        alpha_lr: Learning rate of α, constant.
        alpha_clip_norm: Largest norm of α's gradient, clipped apart from that of the weights;
            ``None``: not clipped.
        structured: One more gate for each tensor, z = z_entry · z_tensor, each counted as one entry
            by the penalty: the paper's structured variant.
        seed: Seed of the draws, which are the same on all ranks.

    Raises:
        LtsftError: If `l0` is negative.
    """

    def __init__(
        self,
        l0: float = 1.25e-7,
        alpha_start: float = 5.0,
        alpha_lr: float = 0.1,
        alpha_clip_norm: float | None = 1.0,
        structured: bool = False,
        seed: int = 0,
    ) -> None:
        if l0 < 0:
            raise LtsftError(f"`l0` of `DiffPruning` is expected to be 0 or more, but got {l0}.")
        self.l0 = l0
        self.alpha_start = alpha_start
        self.alpha_lr = alpha_lr
        self.alpha_clip_norm = alpha_clip_norm
        self.structured = structured
        self.seed = seed
        self.reset()

    def __str__(self) -> str:
        structured = ", structured" if self.structured else ""
        return f"{type(self).__name__}(l0={self.l0:g}{structured})"

    def reset(self) -> None:  # noqa: D102
        self._alphas: dict[str, list[Tensor]] = {}  # of the entries and, if structured, the tensor
        self._optimizer: torch.optim.Optimizer | None = None
        self._num_steps = 0
        self._held: dict[str, Tensor] = {}
        self._restored: dict[str, Any] = {}

    # ------------------------------------------------------------------ during the dense phase

    @torch.no_grad()
    def place(self, candidates: Candidates, training: bool) -> None:
        """Put θ⁰ + z ⊙ w in place: drawn gates in training, mean gates otherwise."""
        self.remove(candidates)
        self._begin(candidates)
        gates = self._drawn(candidates) if training else self._expected(candidates)
        for (name, parameter), factors in zip(candidates.parameters(), gates, strict=True):
            self._held[name] = parameter.detach().clone()
            gate = _product(z for z, _ in factors)
            initial = candidates.initial[name].to(gate.dtype)
            parameter.copy_(initial + gate * (parameter.to(gate.dtype) - initial))

    @torch.no_grad()
    def remove(self, candidates: Candidates) -> None:
        """Put θ⁰ + w back in place, bit for bit."""
        parameters = dict(candidates.parameters())
        for name, held in self._held.items():
            parameters[name].copy_(held)
        self._held = {}

    @torch.no_grad()
    def observe(self, candidates: Candidates) -> None:
        """Turn the gradient of θ into that of w, and step α.

        Under accumulation `.grad` is the sum over batches with one draw of the gates and one w, so
        this is done once for all of them.
        """
        self.remove(candidates)
        self._begin(candidates)
        assert self._optimizer is not None
        gates = self._drawn(candidates)
        for (name, parameter), factors in zip(candidates.parameters(), gates, strict=True):
            alphas = self._alphas[name]
            for alpha in alphas:
                alpha.grad = self.l0 * hard_concrete.probability_slope(alpha)
            if parameter.grad is None:
                continue
            dtype = alphas[0].dtype
            change = parameter.to(dtype) - candidates.initial[name].to(dtype)
            towards_gate = parameter.grad.to(dtype) * change
            for which, alpha in enumerate(alphas):
                slope = _product(
                    z if other != which else z_slope for other, (z, z_slope) in enumerate(factors)
                )
                assert alpha.grad is not None
                alpha.grad += (towards_gate * slope).sum_to_size(alpha.shape)
            parameter.grad.mul_(_product(z for z, _ in factors))
        self._step()

    def _step(self) -> None:
        """Clip α's gradient and step; as a gradient scaler does, skip what is not finite."""
        assert self._optimizer is not None
        alphas = [alpha for both in self._alphas.values() for alpha in both]
        limit = torch.inf if self.alpha_clip_norm is None else self.alpha_clip_norm
        if torch.isfinite(nn.utils.clip_grad_norm_(alphas, limit)):
            self._optimizer.step()
        self._optimizer.zero_grad()
        self._num_steps += 1

    def _begin(self, candidates: Candidates) -> None:
        """Make α, or take it from a checkpoint, once the parameters are where they will train."""
        if self._optimizer is not None:
            return
        dtype = candidates.dtype
        for name, parameter in candidates.parameters():
            shapes = [parameter.shape] + [torch.Size([1] * parameter.dim())] * self.structured
            saved = self._restored.get("alphas", {}).get(name)
            self._alphas[name] = [
                alpha.to(parameter.device, copy=True)
                for alpha in saved or [torch.full(s, self.alpha_start, dtype=dtype) for s in shapes]
            ]
        alphas = [alpha.requires_grad_() for both in self._alphas.values() for alpha in both]
        self._optimizer = torch.optim.AdamW(alphas, lr=self.alpha_lr, weight_decay=0.0)
        if self._restored:
            self._optimizer.load_state_dict(self._restored["optimizer"])
            self._num_steps = self._restored["num_steps"]
            self._restored = {}

    def _drawn(self, candidates: Candidates) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Gates and their slopes of each tensor, the same ones until the next step.

        They are drawn anew from the step's seed wherever they are needed, so as not to be held.
        """
        seed = crc32(f"{self.seed} {self._num_steps}".encode())
        generator: torch.Generator | None = None
        for name, parameter in candidates.parameters():
            if generator is None:
                generator = torch.Generator(parameter.device).manual_seed(seed)
            yield [
                hard_concrete.sample(
                    alpha.detach(),
                    torch.rand(
                        alpha.shape, generator=generator, dtype=alpha.dtype, device=alpha.device
                    ),
                )
                for alpha in self._alphas[name]
            ]

    def _expected(self, candidates: Candidates) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Mean gates of each tensor; slopes are not needed with them."""
        for name, _ in candidates.parameters():
            means = [hard_concrete.expectation(alpha.detach()) for alpha in self._alphas[name]]
            yield [(mean, mean) for mean in means]

    # ------------------------------------------------------------------ afterwards

    @property
    def expected_density(self) -> float:
        """Share of the entries' gates that are expected not to be 0: the mean of P(z ≠ 0)."""
        entries = [both[0].detach() for both in self._alphas.values()]
        total = sum(float(hard_concrete.probability_nonzero(a).sum()) for a in entries)
        return total / max(sum(alpha.numel() for alpha in entries), 1)

    def describe(self, candidates: Candidates, mask: Mask) -> str:
        """How far the penalty went, beside the edge of the choice."""
        open_gates = f"; {self.expected_density:.2%} of the gates expected to be open"
        return open_gates + super().describe(candidates, mask)

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        if self._optimizer is None:
            return self._restored
        return {
            "alphas": {name: [a.detach() for a in both] for name, both in self._alphas.items()},
            "optimizer": self._optimizer.state_dict(),
            "num_steps": self._num_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: D102
        self.reset()
        self._restored = state


def _product(factors: Iterator[Tensor]) -> Tensor:
    """Product of one tensor, or of two that broadcast."""
    first, *rest = factors
    for factor in rest:
        first = first * factor
    return first
