"""Choosing the entries, and saying in the log what was chosen."""

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

from ltsft.sparse import Candidates, Mask, Rounds, Selection


def choose(
    selection: Selection,
    candidates: Candidates,
    num_params: int,
    rounds: Rounds,
    before: Mask | None,
) -> Mask:
    """Choose the entries of a round; one log line before and one after.

    Args:
        selection: The criterion.
        candidates: What there is to choose from.
        num_params: Number of entries to choose; 0 where the selection implies it.
        rounds: How the entries of several rounds are joined.
        before: The mask of the round before; ``None`` in the first.

    Returns:
        The mask of all entries that may move now.
    """
    asked_for = f"{num_params:,} " if selection.needs_budget else ""
    rank_zero_info(
        f"{selection}: selecting {asked_for}of {candidates.num_maskable():,} maskable entries."
    )
    chosen = selection.select(candidates, num_params)
    mask = chosen if before is None else rounds.joined(before, chosen)
    num_total = sum(parameter.numel() for parameter in candidates.module.parameters())
    rank_zero_info(
        f"Selected {mask.num_selected:,} entries: {mask.density:.2%} of the maskable, "
        f"{mask.num_selected / num_total:.2%} of the whole model"
        f"{selection.describe(candidates, chosen)}."
    )
    return mask


def log_overlap(overlap: float | None, position: str, trainer: Trainer) -> None:
    """Log how much two successive choices overlap; nothing for the first one."""
    if overlap is None:
        return
    rank_zero_info(
        f"In {position} {overlap:.2%} of the entries that would be selected are those of the "
        "best weights before."
    )
    for logger in trainer.loggers:
        logger.log_metrics({"selection_overlap": overlap}, step=trainer.global_step)
