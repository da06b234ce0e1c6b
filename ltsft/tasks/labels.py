"""Which labels a head has outputs for, where several things say so."""

from collections.abc import Mapping

from ltsft.errors import LtsftError


def settle_labels(inventories: Mapping[str, list[str]]) -> list[str]:
    """The labels that all agree on.

    Args:
        inventories: Labels by what says so, the one to be believed first: the checkpoint, then
            fine-tunings, then the option.

    Raises:
        LtsftError: If nothing says so, two disagree, or the labels are not different names.

    Example:
        >>> settle_labels({"the checkpoint": ["A", "B"], "`model.init_args.labels`": ["A", "B"]})
        ['A', 'B']
    """
    if not inventories:
        raise LtsftError(
            "`model.init_args.labels` is expected to list the label names, but got none; "
            "name the task's fine-tuning in `model.init_args.base_sfts`, which has them, or give "
            "them (on the command line `data.init_args.labels`)."
        )
    (first, labels), *others = inventories.items()
    for other, other_labels in others:
        if other_labels != labels:
            raise LtsftError(
                f"{other} is expected to have the labels of {first}, {', '.join(labels)}, but "
                f"got {', '.join(other_labels)}; set `labels` (on the command line "
                "`data.init_args.labels`) to the former or leave it out."
            )
    if not labels or len(set(labels)) < len(labels):
        raise LtsftError(
            "`model.init_args.labels` is expected to list different names, at least one, but "
            f"got {labels}."
        )
    return labels
