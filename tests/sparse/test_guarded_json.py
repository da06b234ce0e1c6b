"""JSON of strangers becomes plain values that can be written again, or is refused in one line."""

import json

import pytest

from ltsft.sparse.guarded_json import read_json


@pytest.mark.parametrize(
    "value", [None, [], {"a": [1, -(2**63), 2**63 - 1, 0.5, "é\n\t", True]}, "x", {"": {"": ""}}]
)
def test_what_is_read_is_what_was_written(value):
    for content in (json.dumps(value), json.dumps(value, ensure_ascii=False).encode()):
        assert read_json(content) == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        (b"\xff\xfe[\x00]\x00", "invalid start byte"),  # UTF-16, which `json` would guess
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ("[" * 200_000 + "]" * 200_000, "nested more than 100 deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested more than 100 deep"),
        ("9" * 5000, "a whole number of 5,000 digits"),
        ("[9223372036854775808]", "a whole number of 19 digits"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        ('["\\ud800"]', r"the character '\\ud800' in a text"),
        ('{"\\u001b[2J": 1}', r"the character '\\x1b' in a text"),
        ('["a\\rb"]', r"the character '\\r' in a text"),
        ('["a\\bb"]', r"the character '\\x08' in a text"),
        ('[{"a": "\x9b2J"}]', r"the character '\\x9b' in a text"),
    ],
)
def test_what_nobody_needs_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        read_json(content)
    assert "\n" not in str(caught.value)


def test_a_hundred_levels_are_read():
    for inside in ("", "1"):
        text = "[" * 100 + inside + "]" * 100
        assert json.dumps(read_json(text)) == text


def test_every_character_however_it_is_written():
    """Those that are refused are refused, and others read, escaped or not."""
    for number in (*range(0x100), 0x2028, 0xD800, 0xDFFF, 0x1F600):
        character = chr(number)
        is_wrong = (number in range(32) and character not in "\n\t") or 127 <= number < 160
        is_wrong = is_wrong or number in (0xD800, 0xDFFF)
        for text in (json.dumps([character]), json.dumps({character: 1}), f'["\\u{number:04x}"]'):
            if number > 0xFFFF and "u1f600" in text:
                continue
            if is_wrong:
                with pytest.raises(ValueError, match="has the character"):
                    read_json(text)
            else:
                assert character in read_json(text)
