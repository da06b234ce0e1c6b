"""Whether heads make a tree, and which word is at fault if they do not."""

from collections.abc import Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """Why heads make no tree with exactly one root.

    Args:
        word: Number of the word at fault, from 1.
        reason: What is wrong, a clause that goes after "but".
    """

    word: int
    reason: str


def find_fault(heads: Sequence[int]) -> Fault | None:
    """Look for what keeps the heads of a sentence from being a tree with exactly one root.

    Args:
        heads: Number of each word's head, from 1; 0 for the root.

    Returns:
        The first fault, or ``None`` if the heads make a tree.

    Example:
        >>> find_fault([2, 0, 2])
        >>> find_fault([0, 0, 2])
        Fault(word=2, reason='words 1 and 2 are both roots')
        >>> find_fault([0, 3, 2])
        Fault(word=2, reason='words 2, 3 make a cycle')
    """
    for word, head in enumerate(heads, start=1):
        if not 0 <= head <= len(heads):
            return Fault(word, f"the head of word {word} is {head}")
    roots = [word for word, head in enumerate(heads, start=1) if head == 0]
    if not roots:
        return Fault(1, "no word has the head 0")
    if len(roots) > 1:
        return Fault(roots[1], f"words {roots[0]} and {roots[1]} are both roots")
    reaches_root = {0}
    for start in range(1, len(heads) + 1):
        path: list[int] = []
        word = start
        while word not in reaches_root:
            if word in path:
                cycle = path[path.index(word) :]
                return Fault(min(cycle), f"words {', '.join(map(str, sorted(cycle)))} make a cycle")
            path.append(word)
            word = heads[word - 1]
        reaches_root.update(path)
    return None
