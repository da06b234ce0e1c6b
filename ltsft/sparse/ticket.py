"""A ticket, θ⁰ and a mask: Algorithm 1, around any training loop.

Frankle and Carbin (2019) call what a mask leaves of an initialisation a winning ticket. Here it is
what a sparse fine-tuning is made with, on any ``torch.nn.Module``.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.digest import rest_digest
from ltsft.sparse.fine_tuning import SparseFineTuning
from ltsft.sparse.holds import Hold, Masked
from ltsft.sparse.ledger import base_digests
from ltsft.sparse.mask import Mask
from ltsft.sparse.metadata import Metadata
from ltsft.sparse.names import named_buffers, named_parameters, persistent_buffers
from ltsft.sparse.ranks import Ranks, checked
from ltsft.sparse.rewinding import Rewinding, ToStart
from ltsft.sparse.rounds import Growing, Rounds
from ltsft.sparse.scope import Scope, ScopeRules, freeze, tied_names
from ltsft.sparse.selection import Candidates, Selection
from ltsft.sparse.selection.choice import choose
from ltsft.sparse.shard import gathered, local, reshard
from ltsft.version import __version__


def _say_nothing(line: str) -> None:
    pass


class Ticket:
    """θ⁰ and a mask of a module in training (Ansell et al., 2022, §3.1, Algorithm 1).

    θ⁰ is what the module holds when the ticket is made: move it to its device first. Between the
    calls any loop may train it.

    Args:
        module: The module to fine-tune.
        scope: Which of its parameters are maskable, whole or frozen, or the rules for it. The
            default: all are maskable. Frozen ones get ``requires_grad=False``.
        ranks: The processes that train together, if several do; `current_ranks(module)`.
        purpose: What it is made for, such as a task and a language; draws by chance depend on it.

    Attributes:
        initial: θ⁰: copies of everything that trains, and of persistent buffers, by name; of what
            is whole and of buffers alone after :meth:`release`.
        start: What the round of selection that training is in began with; θ⁰ unless
            :meth:`begin_round` says otherwise.
        mask: The selected entries; ``None`` until there are any. Where ranks share parameters out
            (FSDP2), all these are of this rank's rows.

    Raises:
        LtsftError: If a rule matches no parameter, or `ranks` does not know of shards.

    Example:
        >>> def train(module):
        ...     optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
        ...     ...  # any loop
        ...     return optimizer
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Linear(4, 2)
        >>> ticket = Ticket(model)                             # θ⁰
        >>> model.weight.data += torch.randn(2, 4)             # stands for training: θ¹
        >>> from ltsft.sparse import LargestChange
        >>> mask = ticket.select(LargestChange(), 3)           # μ
        >>> ticket.rewind()                                    # θ ← θ⁰
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with ticket.hold(optimizer):                       # only K entries move
        ...     model(torch.randn(8, 4)).sum().backward()
        ...     _ = optimizer.step()                           # θ²
        >>> ticket.difference().num_params                     # φ = θ² - θ⁰
        3
    """

    def __init__(
        self,
        module: nn.Module,
        scope: Scope | ScopeRules | None = None,
        *,
        ranks: Ranks | None = None,
        purpose: str = "",
    ) -> None:
        expect_type("module", module, nn.Module, "Ticket(model)")
        rules = 'ScopeRules(whole=["classifier"])'
        expect_type("scope", scope, (Scope, ScopeRules), rules)
        self.module = module
        self.scope = scope if isinstance(scope, Scope) else (scope or ScopeRules()).resolve(module)
        self.ranks = checked(ranks or Ranks(), module, self.scope.trained)
        self.purpose = purpose
        freeze(module, self.scope)
        everything = dict(named_parameters(module))
        self.num_total = sum(parameter.numel() for parameter in everything.values())
        self.parameters = {name: everything[name] for name in self.scope.trained}
        self.buffers = persistent_buffers(module)
        self.initial = self.copy()
        self.start: Mapping[str, Tensor] = self.initial
        self.early: dict[str, Tensor] = {}
        self._initial_at: dict[str, Tensor] = {}  # of the selected entries, once released
        self._rest: dict[str, str] = {}  # digests of the others then
        self.mask: Mask | None = None
        self.base_digests = base_digests(module, self.scope.maskable)
        self._frozen = base_digests(module, self.scope.frozen)
        self._selected_by: str | None = None

    # ------------------------------------------------------------------ weights

    def weights(self) -> dict[str, Tensor]:
        """Everything that trains and the buffers, by name: the tensors themselves."""
        buffers = dict(named_buffers(self.module))  # asked for anew: modules may replace them
        tensors = {name: local(parameter).detach() for name, parameter in self.parameters.items()}
        return tensors | {name: buffers[name] for name in self.buffers}

    def movable(self) -> dict[str, Tensor]:
        """What may still move: after :meth:`release`, of maskable ones the selected entries, [K].

        :meth:`put` takes it back.
        """
        return {
            name: self._at(name, tensor) if name in self._initial_at else tensor
            for name, tensor in self.weights().items()
        }

    def copy(self) -> dict[str, Tensor]:
        """Copies of the :meth:`weights` as they are now, on their devices."""
        return {name: tensor.clone() for name, tensor in self.weights().items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite :meth:`weights` by those given: some of them, or what :meth:`movable` gave."""
        reshard(self.module)
        tensors = self.weights()
        for name, value in weights.items():
            if name in self._initial_at and value.shape != tensors[name].shape:
                indices = self._settled_mask().indices_of(name)
                tensors[name].view(-1)[indices] = value.to(tensors[name].device)
            else:
                tensors[name].copy_(value)

    # ------------------------------------------------------------------ the algorithm

    def candidates(self, rounds: Rounds | None = None) -> Candidates:
        """What a selection chooses from: the weights now, and where the round started.

        Args:
            rounds: What is left to choose from after earlier rounds; ``None``: everything.
        """
        within = None if rounds is None or self.mask is None else rounds.within(self.mask)
        return Candidates(self.module, self.scope, self.start, within, self.ranks, self.purpose)

    def select(
        self,
        selection: Selection,
        num_params: int = 0,
        rounds: Rounds | None = None,
        tell: Callable[[str], None] = _say_nothing,
    ) -> Mask:
        """Choose the entries that may move from now on, and note them in :attr:`mask`.

        Args:
            selection: The criterion.
            num_params: How many entries to choose: K, or the round's share of it. 0 where the
                criterion implies it.
            rounds: How what a further selection chooses is joined to what there is; the first may
                do without.
            tell: Is given two lines about the choice, one before and one after.

        Returns:
            The mask of all entries that may move.

        Raises:
            LtsftError: If there are not so many entries, or changes are not finite; if entries are
                selected already, and `rounds` is missing; or, on all ranks alike, if ranks choose
                different entries.
        """
        expect_type("selection", selection, Selection, "LargestChange()")
        expect_type("num_params", num_params, int, "ticket.select(LargestChange(), 1_000)")
        if selection.needs_budget and num_params < 1:
            raise LtsftError(
                f"`num_params` is expected to be 1 or more with {selection}, but got {num_params}; "
                "say how many entries to select."
            )
        if self.mask is not None and rounds is None:
            raise LtsftError(
                f"`rounds` is expected to be given for a further selection, but "
                f"{self.mask.num_selected:,} entries are selected already; make a new ticket, or "
                "pass `Growing(2)` to select more."
            )
        rounds = rounds or Growing(1)
        candidates = self.candidates(rounds)
        asked_for = f"{num_params:,} " if selection.needs_budget else ""
        num_maskable = candidates.num_maskable()
        tell(f"{selection}: selecting {asked_for}of {num_maskable:,} maskable entries.")
        chosen = choose(selection, candidates, num_params)
        joined = chosen if self.mask is None else rounds.joined(self.mask, chosen)
        if not self.ranks.hold_shards:  # of one mask each has another part
            self.ranks.check_equal(joined.digest(), "the mask")
        self._set_mask(joined)
        self._selected_by = str(selection)
        num_selected = sum(self.ranks.of_shards(joined.num_selected))
        tell(
            f"Selected {num_selected:,} entries: {num_selected / max(num_maskable, 1):.2%} of the "
            f"maskable, {num_selected / self.num_total:.2%} of the whole model"
            f"{selection.describe(candidates, chosen)}."
        )
        return joined

    def rewind(self, rewinding: Rewinding | None = None) -> None:
        """Put the weights where the next phase starts; unselected entries back to their start.

        Args:
            rewinding: The rule for selected entries, whole parameters and buffers; ``None``:
                :class:`~ltsft.sparse.ToStart`, everything back to its start.
        """
        mask, rewinding = self._settled_mask(), rewinding or ToStart()
        self.ranks.check_supports(rewinding, "sparse.rewinding")
        self.put(rewinding.start(self.candidates(), mask, self.early))

    @contextmanager
    def hold(self, *optimizers: Optimizer, by: Hold | None = None) -> Iterator[Hold]:
        """Let only the selected entries and whole parameters move, inside the block.

        Gradients of other entries are masked as each backward pass makes them, so that clipping
        counts only what moves. (Under DDP they are made whole after that: there call
        ``mask_gradients()`` of what the block is given, after each backward pass.)

        Args:
            *optimizers: All that step the parameters. Make them anew: their old state is not held
                against them, but says how *all* entries moved.
            by: How; ``None``: :class:`~ltsft.sparse.Masked`. With :class:`~ltsft.sparse.Compact`
                the loop sets gradients to zero by its optimizers.

        Raises:
            LtsftError: If there is no optimizer.
        """
        for optimizer in optimizers:
            expect_type("optimizers", optimizer, Optimizer, "ticket.hold(optimizer)")
        expect_type("by", by, Hold, "ticket.hold(optimizer, by=Compact())")
        if not optimizers:
            raise LtsftError(
                "`optimizers` is expected to be all that step the parameters, but got none; write "
                "`ticket.hold(optimizer)` with the one that the loop steps."
            )
        hold = by or Masked()
        with ExitStack() as ending:
            hold.attach(self, optimizers)
            ending.callback(hold.detach)
            for parameter in (self.parameters[name] for name in self.scope.maskable):
                if parameter.requires_grad:
                    handle = parameter.register_post_accumulate_grad_hook(hold.mask_gradient)
                    ending.callback(handle.remove)
            yield hold

    def difference(self, **about: Any) -> SparseFineTuning:
        """Take φ = θ² - θ⁰, after a check that nothing else moved.

        Args:
            **about: Further fields of :class:`~ltsft.sparse.Metadata`.

        Raises:
            LtsftError: If an unselected entry moved.
        """
        mask = self._settled_mask()
        if moved := [name for names in self.ranks.gather(self.moved()) for name in names]:
            raise LtsftError(
                f"entries that are not selected are expected to be as before training, but they "
                f"moved in {', '.join(moved[:3])}; call `rewind()` before the sparse phase, step "
                "only optimizers that are held, and change no weights by hand."
            )
        weights = self.weights()
        changed = [n for n in self.buffers if not torch.equal(weights[n], self.initial[n])]
        metadata = {
            "base_digests": self.base_digests,
            "tied": [name for names in tied_names(self.module).values() for name in names],
            "selection": self._selected_by,
            "num_params": sum(self.ranks.of_shards(mask.num_selected)),
            "num_maskable": self.candidates().num_maskable(),
            "num_total": self.num_total,
            **about,
        }
        versions = {"ltsft": __version__, "torch": torch.__version__}
        metadata["versions"] = versions | metadata.get("versions", {})
        return SparseFineTuning.from_difference(
            self.module,
            {name: self.initial_at(name) for name in mask},
            mask,
            whole={name: gathered(self.parameters[name]) for name in self.scope.whole}
            | {name: weights[name] for name in changed},
            metadata=Metadata(**metadata),
            ranks=self.ranks,
        )

    # ------------------------------------------------------------------ on the way

    def keep_early(self) -> None:
        """Keep the weights of now, for :class:`~ltsft.sparse.ToStep` to go back to."""
        self.early = self.copy()

    def begin_round(self) -> None:
        """Let a further round of selection start from the weights of now, instead of θ⁰."""
        self.start = self.copy()

    def forget_round(self) -> None:
        """Keep nothing but θ⁰ and the mask; the rest is as large as the model, and of no more use.

        Nothing is rewound any more until a further round begins.
        """
        self.start, self.early = self.initial, {}

    def release(self) -> None:
        """Keep θ⁰ at the selected entries only; of the others, what tells whether they moved.

        Nothing is selected, rewound or masked any more after it.
        """
        mask = self._settled_mask()
        for name in mask:
            if name in self.initial:
                self._initial_at[name] = self._at(name, self.initial[name])
                self._rest[name] = rest_digest(self.initial.pop(name), mask.indices_of(name))

    def initial_at(self, name: str) -> Tensor:
        """θ⁰ of a maskable parameter at the selected entries, flat, [K of it]."""
        if name in self._initial_at:
            return self._initial_at[name]
        return self._at(name, self.initial[name])

    def unselected(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Name, parameter and True where an entry may *not* move, of each maskable parameter."""
        mask = self._settled_mask()
        return ((name, self.parameters[name], ~mask[name]) for name in mask)

    def selected(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Name, parameter and flat positions of the entries that may move, of each maskable one."""
        mask = self._settled_mask()
        return ((name, self.parameters[name], mask.indices_of(name)) for name in mask)

    def moved(self) -> list[str]:
        """Names of parameters in which an unselected or frozen entry differs from θ⁰."""
        digests = base_digests(self.module, self._frozen)
        frozen = [name for name, digest in self._frozen.items() if digests[name] != digest]
        now, mask = self.weights(), self._settled_mask()
        if self._rest:
            rest = {name: rest_digest(now[name], mask.indices_of(name)) for name in self._rest}
            return frozen + [name for name in rest if rest[name] != self._rest[name]]
        kept = ((name, ~mask[name]) for name in mask)
        return frozen + [n for n, at in kept if not torch.equal(now[n][at], self.initial[n][at])]

    @property
    def gradients_are_final(self) -> bool:
        """Whether nothing changes a gradient any more once a backward pass has made it."""
        return not self.ranks.averages_gradients

    def has_moved(self) -> bool:
        """Whether anything that trains differs from θ⁰ where it may."""
        now, before = self.movable(), self.initial | self._initial_at
        return any(not torch.equal(now[name], before[name]) for name in self.parameters)

    def _at(self, name: str, tensor: Tensor) -> Tensor:
        """The selected entries of a tensor of a maskable parameter's shape, [K of it]."""
        return tensor.detach().flatten().index_select(0, self._settled_mask().indices_of(name))

    def _settled_mask(self) -> Mask:
        if self.mask is None:
            raise RuntimeError("no entries are selected: call `select` before")
        return self.mask

    def _set_mask(self, mask: Mask) -> None:
        devices = {name: self.parameters[name].device for name in mask}
        self.mask = mask.to(devices)

    # ------------------------------------------------------------------ checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, tensors and primitives only."""
        return {
            "initial": self.initial,
            "initial_at": self._initial_at,
            "rest": self._rest,
            "start": {} if self.start is self.initial else self.start,
            "early": self.early,
            "mask": None if self.mask is None else self.mask.indices(),
            "base_digests": self.base_digests,
            "frozen": self._frozen,
            "selected_by": self._selected_by,
            "purpose": self.purpose,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; the weights themselves are not in it."""

        def here(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
            devices = {name: tensor.device for name, tensor in self.weights().items()}
            return {name: tensor.to(devices[name]) for name, tensor in weights.items()}

        self.initial = here(state["initial"])
        self._initial_at = here(state.get("initial_at", {}))
        self._rest = state.get("rest", {})
        self.start = here(state["start"]) or self.initial
        self.early = here(state["early"])
        self.base_digests = state["base_digests"]
        self._frozen = state["frozen"]
        self._selected_by = state["selected_by"]
        self.purpose = state.get("purpose", "")
        if state["mask"] is not None:
            shapes = {name: local(self.parameters[name]).shape for name in self.scope.maskable}
            self._set_mask(Mask.from_indices(state["mask"], shapes))
