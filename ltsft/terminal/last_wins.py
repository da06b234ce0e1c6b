"""Of options that exclude each other, the one that is said last."""

from itertools import pairwise
from pathlib import Path

from ltsft.terminal import yaml_text

BUDGET = "sparse.budget"
SIZES = ("num_params", "density", "reduction_factor")
"""Ways to say K, of which a budget has one."""


def with_one_budget(args: list[str]) -> list[str]:
    """A command line in which each size of the budget takes back the other ones.

    A config's ``reduction_factor`` would otherwise stand beside the ``density`` of a later option,
    or of a later config.

    Args:
        args: The command line.

    Example:
        >>> with_one_budget(["--sparse.budget.density", "0.1"])[2:]
        ['--sparse.budget.num_params', 'null', '--sparse.budget.reduction_factor', 'null', \
'--sparse.budget.invertible', 'false']
    """
    result: list[str] = []
    taken_back: list[str] = []  # once the value has followed
    for word, following in pairwise([*args, ""]):
        result += [word, *taken_back]
        option, equals, value = word.partition("=")
        taken_back = []
        if option.startswith("--"):
            said = _sizes_in(option.removeprefix("--"), value if equals else following)
            others = [size for size in SIZES if size not in said] if len(said) == 1 else []
            nulls = [part for size in others for part in (f"--{BUDGET}.{size}", "null")]
            if others and "reduction_factor" in others:  # which alone it goes with
                nulls += [f"--{BUDGET}.invertible", "false"]
            if equals:
                result += nulls
            else:
                taken_back = nulls
    return result


def _sizes_in(option: str, value: str) -> list[str]:
    """The sizes that an option sets to something."""
    if option == "config" and Path(value).is_file():
        config = yaml_text.load(Path(value).read_text(encoding="utf-8")) or {}
        sizes = (
            ((config.get("sparse") or {}).get("budget") or {}) if isinstance(config, dict) else {}
        )
        return [size for size in SIZES if sizes.get(size) is not None]
    size = option.removeprefix(f"{BUDGET}.")
    return [size] if size in SIZES and option != size and value not in ("null", "None") else []
