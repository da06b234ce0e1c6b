"""Writing what a fit has made, without losing what another one made."""

import filecmp
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from ltsft.atomic import set_aside
from ltsft.sparse import SparseFineTuning
from ltsft.sparse.location import FILE_NAME


def save_beside_earlier(sft: SparseFineTuning, folder: Path) -> None:
    """Write a fine-tuning; another one that is there gets a name with a number.

    Args:
        sft: The new one.
        folder: Where to.
    """
    earlier = set_aside(folder / FILE_NAME)
    sft.save_pretrained(folder)
    if earlier is None:
        return
    if filecmp.cmp(earlier, folder / FILE_NAME, shallow=False):  # as after resuming at the end
        earlier.unlink()
    else:
        rank_zero_warn(
            f"The fine-tuning that was in {folder} is {earlier.name} there now; name another "
            "`trainer.default_root_dir` for each fit."
        )
