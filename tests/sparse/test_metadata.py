"""What a fine-tuning says about itself."""

import pytest

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata


@pytest.mark.parametrize(
    ("task", "head"), [(None, None), ("masked-lm", "language"), ("pos", "task"), ("mine", "task")]
)
def test_whose_head_it_brings(task, head):
    assert Metadata(task=task).head == head


def test_unknown_keys_are_kept_and_written_apart():
    """A file of a later version says more; nothing of it is lost."""
    metadata = Metadata.from_json('{"task": "pos", "later": [1, 2], "extra": {"mine": 3}}')
    assert metadata.extra == {"mine": 3, "later": [1, 2]}
    assert Metadata.from_json(metadata.to_json()) == metadata


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(LtsftError, match="metadata is expected to be"):
        Metadata.from_json(text)
