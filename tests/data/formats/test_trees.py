"""What is no tree with one root, against following every path."""

import itertools

import pytest

from ltsft.data.formats.trees import Fault, find_fault


def is_tree(heads: tuple[int, ...]) -> bool:
    """One root, and from each word at most as many steps to it as there are words."""
    for start in range(1, len(heads) + 1):
        word = start
        for _ in heads:
            word = heads[word - 1] if word else 0
        if word:
            return False
    return heads.count(0) == 1


@pytest.mark.parametrize("num_words", [1, 2, 3, 4, 5])
def test_faults_are_found_where_there_is_no_tree(num_words: int) -> None:
    """All heads of up to 5 words, a word's own number included."""
    for heads in itertools.product(range(num_words + 1), repeat=num_words):
        fault = find_fault(heads)
        assert (fault is None) == is_tree(heads)
        assert fault is None or 1 <= fault.word <= num_words


@pytest.mark.parametrize(
    ("heads", "fault"),
    [
        ([2, 1], Fault(1, "no word has the head 0")),
        ([3, 0, 0, 0], Fault(3, "words 2 and 3 are both roots")),
        ([0, 5, 2, 3, 4, 1, 2], Fault(2, "words 2, 3, 4, 5 make a cycle")),
        ([3, 0, 4, 3], Fault(3, "words 3, 4 make a cycle")),
        ([0, 4], Fault(2, "the head of word 2 is 4")),
        ([0, -1], Fault(2, "the head of word 2 is -1")),
    ],
)
def test_faults_say_which_words(heads: list[int], fault: Fault) -> None:
    assert find_fault(heads) == fault
