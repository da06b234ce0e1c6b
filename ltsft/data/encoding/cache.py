"""Results of slow preprocessing, kept for the next run."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ltsft.atomic import whole_file
from ltsft.data.encoding.digest import digest
from ltsft.errors import LtsftError
from ltsft.version import __version__

VARIABLE = "LTSFT_CACHE"
"""Environment variable with the folder of the cache; empty: nothing is kept."""

MIN_BYTES = 2**20
"""Results smaller than this are made again sooner than they are looked up."""


def cache_folder() -> Path | None:
    """The folder that results are kept in; ``None`` if they are not to be kept."""
    folder = os.environ.get(VARIABLE, "~/.cache/ltsft")
    return Path(folder).expanduser() if folder else None


def cached(key: Iterable[str | bytes], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Look up a result, or make it and keep it.

    A result is found by its content's digest, so a changed file, tokenizer or setting is another
    one and nothing has to be cleared. Results that cannot be kept (no space, no permission) are
    still returned.

    Args:
        key: Everything that the result depends on, in one order.
        make: Makes the result: tensors by name.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    path = folder / f"{digest([__version__, *key])}.safetensors"
    try:
        if path.is_file():
            return load_file(path)
    except (SafetensorError, OSError) as error:
        rank_zero_info(f"{path} of the cache cannot be read ({error}): made again.")
    result = make()
    if sum(tensor.nbytes for tensor in result.values()) >= MIN_BYTES:
        try:
            with whole_file(path) as temporary:
                save_file({name: t.contiguous() for name, t in result.items()}, temporary)
        except (OSError, LtsftError) as error:
            rank_zero_info(
                f"The cache {folder} cannot be written to ({error}); set {VARIABLE} to another "
                "folder, or to nothing."
            )
    return result
