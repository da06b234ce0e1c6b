"""What a fit's settings mean for the module at hand."""

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from ltsft.callbacks.language_sfts import LanguageSfts
from ltsft.callbacks.sound import check_settled
from ltsft.errors import LtsftError, expect_type
from ltsft.sparse import (
    Budget,
    Compact,
    Hold,
    Masked,
    Metadata,
    Rounds,
    Scope,
    ScopeRules,
    Selection,
)
from ltsft.sparse.names import named_parameters


def resolve_scope(rules: ScopeRules | None, pl_module: LightningModule, root: nn.Module) -> Scope:
    """Sort the parameters of `root` by the rules that were given, or the module's own.

    Raises:
        LtsftError: If a rule matches nothing, something outside `root` trains, or an embedding has
            sparse gradients.
    """
    expect_type("sft_root", root, nn.Module, "sft_root = self.model (a property)")
    check_settled(root)
    rules = rules or getattr(pl_module, "scope_rules", ScopeRules)()
    expect_type("scope_rules()", rules, ScopeRules, 'return ScopeRules(whole=["head"])')
    scope = rules.resolve(root)
    inside = {id(parameter) for parameter in root.parameters()}
    for name, parameter in pl_module.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            raise LtsftError(
                f"`sft_root` is expected to hold all parameters that train, but `{name}` is "
                "outside; move it inside or set its `requires_grad` to False."
            )
    for name, module in root.named_modules():
        if getattr(module, "sparse", False) and isinstance(module, nn.Embedding | nn.EmbeddingBag):
            raise LtsftError(
                f"`sparse` of the embedding `{name}` is expected to be False, but got True; "
                "gradients that list rows only cannot be masked entry by entry."
            )
    return scope


def check_metadata(pl_module: LightningModule) -> None:
    """Refuse what a module says of its fine-tuning, if it cannot be noted in the file.

    Raises:
        LtsftError: If ``sft_metadata`` is no method that returns fields of `Metadata` for JSON.
    """
    tell = getattr(pl_module, "sft_metadata", dict)
    about = tell() if callable(tell) else tell
    known = [field.name for field in fields(Metadata)]
    if not callable(tell) or not isinstance(about, dict) or about.keys() - set(known):
        raise LtsftError(
            "`sft_metadata` is expected to be a method that returns a mapping of fields of "
            f"`Metadata` ({', '.join(known)}), but got {about!r}."
        )
    try:
        Metadata.from_json(Metadata(**about).to_json())
    except (TypeError, ValueError) as error:
        raise LtsftError(
            "`sft_metadata` is expected to return what JSON can hold (texts, numbers, lists), as "
            f"it is noted in the file, but got {about!r}: {error}."
        ) from error


def purpose_of(pl_module: LightningModule) -> str:
    """What a module's fine-tuning is for: its task and language, if it says so."""
    about: dict[str, Any] = getattr(pl_module, "sft_metadata", dict)()
    return " ".join(str(about[key]) for key in ("task", "language") if about.get(key))


_SEE_GRADIENTS = (
    *("backward", "on_after_backward", "on_before_optimizer_step", "configure_gradient_clipping"),
    *("optimizer_step", "optimizer_zero_grad", "on_before_zero_grad"),
)
"""Hooks in which one looks at gradients, changes them, or lets them go."""


def default_hold(trainer: Trainer, pl_module: LightningModule) -> Hold:
    """`Compact`, unless the user's own code may look at gradients, which it lets go."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    seers = [
        f"`{type(owner).__name__}.{hook}`"
        for owner in (pl_module, *callbacks)
        for hook in _SEE_GRADIENTS
        if _is_users(getattr(type(owner), hook, None))
    ]
    if not pl_module.automatic_optimization:
        seers.append("manual optimization")
    if isinstance(trainer.strategy, ModelParallelStrategy):
        return Masked()  # which checkpoints can be written of
    if not seers:
        return Compact()
    rank_zero_info(
        f"Held by `Masked`: {seers[0]} may look at gradients, most of which `Compact` lets go; if "
        "it does not, `sparse.hold: Compact` takes less memory."
    )
    return Masked()


def _is_users(hook: Callable[..., Any] | None) -> bool:
    """Whether a hook is of the user's own making; inherited ones may not be."""
    return hook is not None and not hook.__module__.startswith(("ltsft.", "lightning."))


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written when training is over.

    Raises:
        LtsftError: If something is in the way, or it may not be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "may not be written" if there.is_dir() else "is a file"
        raise LtsftError(
            f"`sparse.output_dir` is expected to be a folder to write {folder} in, but {there} "
            f"{what}; name another, or another `trainer.default_root_dir`."
        )


def resolve_budget(
    budget: Budget | None, selection: Selection, root: nn.Module, scope: Scope
) -> int:
    """Compute K for the module; 0 where the selection itself implies it.

    Raises:
        LtsftError: If a budget is missing, or given to a selection that has none; or if nothing is
            maskable, and the selection needs entries.
    """
    num_maskable = _num_maskable(root, scope)
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


def _num_maskable(root: nn.Module, scope: Scope) -> int:
    parameters = dict(named_parameters(root))
    return sum(parameters[name].numel() for name in scope.maskable)


def check_rounds(rounds: Rounds, root: nn.Module, scope: Scope, num_params: int) -> None:
    """Refuse more rounds of selection than there is to select.

    Raises:
        LtsftError: If a round would select nothing.
    """
    num_maskable = _num_maskable(root, scope)
    if num_params and min(rounds.num_selected(num_maskable, num_params)) < 1:
        raise LtsftError(
            f"`sparse.rounds` is expected to leave each of its rounds an entry to select, but got "
            f"{rounds.num} rounds for {num_params:,} of {num_maskable:,} entries; take fewer."
        )


def check_has_fit(trainer: Trainer, is_resumed: bool) -> None:
    """Refuse a checkpoint without the state of a fit.

    Args:
        trainer: Has loaded the checkpoint, if there is one.
        is_resumed: Whether a fit's state was in it.

    Raises:
        LtsftError: If there is a checkpoint, and none was.
    """
    if trainer.ckpt_path is not None and not is_resumed:
        raise LtsftError(
            "`ckpt_path` is expected to be of a fit with `SparseMaskCallback`, but "
            f"{trainer.ckpt_path} has no state of one; load its weights into the module, and "
            "leave `ckpt_path` out."
        )


def check_resumable(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another fit.

    Args:
        state: The settings that the checkpoint was written under: what is `trained`, K, and other
            `options` by name.
        settings: Those of now.

    Raises:
        LtsftError: If anything is another.
    """
    if odd := sorted({*state["trained"]} ^ {*settings["trained"]}):
        raise LtsftError(
            "the checkpoint is expected to be of a fit with the same model and `sparse.scope`, "
            f"but `{odd[0]}` trains in one and not in the other."
        )
    if state["num_params"] != settings["num_params"]:
        raise LtsftError(
            "the checkpoint is expected to be of a fit with the same `sparse.budget`, but it "
            f"has {state['num_params']:,} entries and this one {settings['num_params']:,}."
        )
    # Checkpoints from before there was a choice say nothing of the hold.
    for name, before in ({"hold": "Masked"} | state["options"]).items():
        if (value := settings["options"][name]) != before:
            raise LtsftError(
                f"the checkpoint is expected to be of a fit with the same `sparse.{name}`, but "
                f"it was {before} there and is {value} here."
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
