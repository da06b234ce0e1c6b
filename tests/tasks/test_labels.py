"""Labels that several things state: they agree, or one line says which two do not."""

import pytest

from ltsft.errors import LtsftError
from ltsft.tasks.labels import settle_labels


def test_one_is_enough_and_several_agree() -> None:
    assert settle_labels({"a": ["X", "Y"]}) == ["X", "Y"]
    assert settle_labels({"a": ["X", "Y"], "b": ["X", "Y"]}) == ["X", "Y"]


def test_the_first_is_believed() -> None:
    """Order matters: it is the heads' numbering."""
    with pytest.raises(LtsftError, match="c is expected to have the labels of a, X, Y, but got Y"):
        settle_labels({"a": ["X", "Y"], "b": ["X", "Y"], "c": ["Y", "X"]})


@pytest.mark.parametrize("labels", [[], ["X", "X"]])
def test_names_differ(labels: list[str]) -> None:
    with pytest.raises(LtsftError, match="list different names, at least one, but got"):
        settle_labels({"a": labels})


def test_nothing_says_so() -> None:
    with pytest.raises(LtsftError, match="`model.init_args.labels` .* but got none; name the task"):
        settle_labels({})
