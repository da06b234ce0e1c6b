"""Label inventories and gold labels outside of them."""

import pytest

from ltsft.data.labels import ENTITIES, UPOS, map_tag, unknown_labels
from ltsft.errors import LtsftError


def test_inventories_are_fixed() -> None:
    assert len(UPOS) == len(set(UPOS)) == 17
    assert sorted(UPOS) == UPOS
    assert ENTITIES == ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]


def test_map_tag() -> None:
    """Whole tags before types; what is not named stays."""
    tag_map = {"DATE": "O", "PERSON": "PER", "B-ODD": "B-LOC", "AUX": "VERB"}
    tags = ["B-DATE", "I-PERSON", "B-ODD", "I-ODD", "AUX", "NOUN", "O"]
    assert [map_tag(tag, tag_map) for tag in tags] == [
        *("O", "I-PER", "B-LOC", "I-ODD", "VERB", "NOUN", "O")
    ]


def test_unknown_labels_are_counted() -> None:
    assert unknown_labels([["A", "C"], ["C", "D"]], ["A", "B"], "it") == {"C": 2, "D": 1}
    assert unknown_labels([["O", "O"]], ENTITIES, "it") == {}


def test_disjoint_labels_are_refused() -> None:
    """`O` does not count as common: every tagger of entities has it."""
    with pytest.raises(LtsftError, match="it is expected to have some of the labels A, B, .* C, D"):
        unknown_labels([["C"], ["D"]], ["A", "B"], "it")
    with pytest.raises(LtsftError, match="only B-DATE; check"):
        unknown_labels([["O", "B-DATE"]], ENTITIES, "it")
