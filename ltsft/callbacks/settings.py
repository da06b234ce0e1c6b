"""What a fit's settings mean for the module at hand."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from ltsft.callbacks.language_sfts import LanguageSfts
from ltsft.callbacks.trainer_loops import has_validation
from ltsft.callbacks.until_settled import UntilSettled
from ltsft.callbacks.weights import TrainedWeights
from ltsft.errors import LtsftError
from ltsft.sparse import Budget, Rewinding, Rounds, Scope, ScopeRules, Selection


def resolve_scope(rules: ScopeRules | None, pl_module: LightningModule, root: nn.Module) -> Scope:
    """Sort the parameters of `root` by the rules that were given, or the module's own.

    Raises:
        LtsftError: If a rule matches nothing, or something outside `root` trains.
    """
    rules = rules or getattr(pl_module, "scope_rules", ScopeRules)()
    scope = rules.resolve(root)
    inside = {id(parameter) for parameter in root.parameters()}
    for name, parameter in pl_module.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            raise LtsftError(
                f"`sft_root` is expected to hold all parameters that train, but `{name}` is "
                "outside; move it inside or set its `requires_grad` to False."
            )
    return scope


def resolve_budget(
    budget: Budget | None, selection: Selection, root: nn.Module, scope: Scope
) -> int:
    """Compute K for the module; 0 where the selection itself implies it.

    Raises:
        LtsftError: If a budget is missing, or given to a selection that has none; or if nothing is
            maskable, and the selection needs entries.
    """
    parameters = dict(root.named_parameters())
    num_maskable = sum(parameters[name].numel() for name in scope.maskable)
    if selection.needs_entries and not num_maskable:
        raise LtsftError(
            f"`sparse.scope` is expected to leave entries to choose from for "
            f"`{type(selection).__name__}`, but {len(scope.whole)} parameters are whole, "
            f"{len(scope.frozen)} frozen and none is maskable; loosen it, or set "
            "`sparse.selection: NoEntries` to train whole parameters only, such as adapters."
        )
    if not selection.needs_budget:
        if budget is not None:
            raise LtsftError(
                "`sparse.budget` is expected to be left out with "
                f"`{type(selection).__name__}`, which implies the number of entries."
            )
        return 0
    if budget is None:
        raise LtsftError(
            "`sparse.budget` is expected to be given, but is missing; set one of "
            "`sparse.budget.num_params`, `.density` and `.reduction_factor`."
        )
    return budget.resolve(root, num_maskable)


def freeze(root: nn.Module, scope: Scope) -> Callable[[], None]:
    """Stop gradients of frozen parameters, for the whole fit: DDP must not see it change.

    Returns:
        Undoes it.
    """
    stopped = [p for name, p in root.named_parameters() if name in scope.frozen and p.requires_grad]
    for parameter in stopped:
        parameter.requires_grad_(False)

    def undo() -> None:
        for parameter in stopped:
            parameter.requires_grad_(True)

    return undo


def check_resumable(
    state: dict[str, Any],
    weights: TrainedWeights,
    num_params: int,
    settings: dict[str, str],
) -> None:
    """Refuse a checkpoint of another fit.

    Args:
        state: The callback's state in the checkpoint.
        weights: What trains now.
        num_params: K now.
        settings: What else has to be as it was, by option.

    Raises:
        LtsftError: If anything is another.
    """
    if odd := sorted(state["initial"].keys() ^ weights.tensors().keys()):
        raise LtsftError(
            "the checkpoint is expected to be of a fit with the same model and `sparse.scope`, "
            f"but `{odd[0]}` trains in one and not in the other."
        )
    if state["num_params"] != num_params:
        raise LtsftError(
            "the checkpoint is expected to be of a fit with the same `sparse.budget`, but it "
            f"has {state['num_params']:,} entries and this one {num_params:,}."
        )
    for name, value in settings.items():
        if (before := state["settings"][name]) != value:
            raise LtsftError(
                f"the checkpoint is expected to be of a fit with the same `sparse.{name}`, but "
                f"it was {before} there and is {value} here."
            )


def check_rewinding(rewinding: Rewinding, selection: Selection) -> None:
    """Refuse a rewinding to what a dense phase trained, where it trains nothing.

    Raises:
        LtsftError: If so.
    """
    if rewinding.uses_dense_phase and not selection.needs_dense_phase:
        raise LtsftError(
            f"`sparse.rewinding` is expected to be left out with `{type(selection).__name__}`, "
            f"which has no dense phase, but got `{type(rewinding).__name__}`."
        )
    if rewinding.uses_dense_phase and not selection.trains_in_dense_phase:
        raise LtsftError(
            f"`sparse.rewinding` is expected to be `ToStart` with `{selection}`, which keeps the "
            "weights at their start in the dense phase (`at_start: false` lets them train), but "
            f"got `{type(rewinding).__name__}`."
        )


def check_rounds(rounds: Rounds, selection: Selection, rewinding: Rewinding) -> None:
    """Refuse several rounds where they cannot be.

    Raises:
        LtsftError: If there is no dense phase, or no budget to divide; or if a sparse phase is
            expected in each round and there is none.
    """
    if rounds.num == 1:
        return
    if not (selection.needs_dense_phase and selection.needs_budget):
        raise LtsftError(
            f"`sparse.rounds` is expected to be left out with `{selection}`, which has no dense "
            f"phase or no budget, but got {rounds}."
        )
    if rounds.sparse_between and not rewinding.needs_sparse_phase:
        raise LtsftError(
            f"`sparse.rounds` is expected to be `Shrinking` with `{type(rewinding).__name__}`, "
            f"which leaves out sparse phases, but got {rounds}."
        )


def check_order(callback: Callback, selection: Selection, trainer: Trainer) -> None:
    """Refuse to put a selection's weights in place over a language's fine-tuning.

    Raises:
        LtsftError: If the selection places weights and a `LanguageSfts` would come first.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    before = callbacks[: callbacks.index(callback)]
    if selection.places_weights and any(isinstance(other, LanguageSfts) for other in before):
        raise LtsftError(
            "`trainer.callbacks` is expected to have `SparseMaskCallback` before `LanguageSfts` "
            f"with `{selection}`, which puts weights of its own in place for each batch, but they "
            "are the other way round."
        )


def check_until_settled(
    until_settled: UntilSettled | None, selection: Selection, trainer: Trainer
) -> None:
    """Refuse to wait for a set of entries where none is ever compared.

    Raises:
        LtsftError: If there is no dense phase, or no validation to compare at.
    """
    if until_settled is None:
        return
    if not selection.needs_dense_phase:
        raise LtsftError(
            f"`sparse.until_settled` is expected to be left out with `{selection}`, which has no "
            "dense phase."
        )
    if not has_validation(trainer):
        raise LtsftError(
            "`sparse.until_settled` is expected beside validations, at which sets of entries are "
            "compared, but there are none; give validation data or leave it out."
        )
