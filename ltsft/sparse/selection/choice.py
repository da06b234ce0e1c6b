"""What a criterion chose, checked: it may be a user's own."""

from ltsft.errors import LtsftError
from ltsft.sparse.mask import Mask
from ltsft.sparse.selection.base import Selection
from ltsft.sparse.selection.candidates import Candidates


def choose(selection: Selection, candidates: Candidates, num_params: int) -> Mask:
    """Let a criterion choose.

    Args:
        selection: The criterion.
        candidates: What it chooses from.
        num_params: K, where it needs to be told.

    Raises:
        LtsftError: If it returns no mask, one over other parameters, not exactly K entries, or
            none where there should be some; or if it cannot choose where ranks share parameters
            out.
    """
    candidates.ranks.check_supports(selection, "sparse.selection")
    chosen: object = selection.select(candidates, num_params)
    if not isinstance(chosen, Mask):
        raise LtsftError(
            f"`{selection}.select` is expected to return a `Mask`, but returned {chosen!r}; write "
            "`return candidates.largest(scores, num_params)`."
        )
    shapes = {name: parameter.shape for name, parameter in candidates.parameters()}
    if {name: chosen.shape_of(name) for name in chosen} != shapes:
        raise LtsftError(
            f"`{selection}.select` is expected to return a mask over the {len(shapes)} maskable "
            "parameters, each of its shape, but it is over others."
        )
    num_selected = sum(candidates.ranks.of_shards(chosen.num_selected))
    if selection.needs_budget and num_selected != num_params:
        raise LtsftError(
            f"`{selection}.select` is expected to select exactly {num_params:,} entries, but "
            f"selected {num_selected:,}."
        )
    if selection.needs_entries and not num_selected:
        raise LtsftError(
            f"`{selection}` is expected to find entries to train, but finds none among the "
            f"{len(shapes)} maskable parameters (a model without biases, for `Biases`); take "
            "another criterion, or another `scope`."
        )
    return chosen
