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


PARTS = {"parts": [{"weight": 1.0, "digest": "a", "composition": {"parts": []}}, {"weight": 2}]}


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("task", ["pos", None, "é", ""], [1, ["pos"], "a\nb", "a\u202eb", True]),
        ("num_params", [0, 3, None], [-1, 1.0, True, "3"]),
        ("tied", [[], ["a"]], [None, "ab", [1], ["a", None], ["a\nb"]]),
        ("labels", [None, [], ["A"]], ["AB", [None], {"A": 0}]),
        ("base_digests", [{}, {"a": "xxh3:0"}], [None, [], {"a": 1}, {"a\n": "b"}]),
        ("slots", [{}, {"task": {}}, {"task": {"over": {"a": []}}}], [{"task": 3}, [], None]),
        ("phases", [{}, {"sparse": 3}, {"sparse": {"best": None}}], [None, [], "x"]),
        ("extra", [{"a": "b\nc"}, {"composition": None}, {"composition": PARTS}],
         [[], {"composition": 1}, {"composition": {"parts": [{"digest": "a"}]}},
          {"composition": {"parts": [{"weight": 1, "digest": 2}]}},
          {"composition": {"parts": [{"weight": True}]}},
          {"composition": {"parts": [{"weight": 1, "composition": {"parts": 1}}]}}]),
        ("composition", [None, PARTS], [1, {"parts": [1]}]),
    ],
)  # fmt: skip
def test_fields_are_of_the_types_that_are_documented(name, right, wrong):
    for value in right:
        metadata = Metadata.from_values({name: value})
        held = vars(metadata) | metadata.extra
        assert held[name] == value or name == "extra"
        assert Metadata.from_json(metadata.to_json()) == metadata
    for value in wrong:
        with pytest.raises(LtsftError, match="in the metadata is expected to") as caught:
            Metadata.from_values({name: value})
        assert "\n" not in str(caught.value)


def test_what_is_read_is_not_changed():
    values = {"extra": {"a": 1}, "later": 2}
    assert Metadata.from_values(values).extra == {"a": 1, "later": 2}
    assert values == {"extra": {"a": 1}, "later": 2}


def test_every_field_is_checked():
    """Of what type a new one may be, too."""
    for name in vars(Metadata()):
        with pytest.raises(LtsftError, match=f"`{name}` in the metadata is expected to be"):
            Metadata.from_values({name: 0.5})
