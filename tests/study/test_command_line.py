"""Options as words, and as YAML reads them again."""

import pytest
import yaml

from ltsft.study.command_line import option


@pytest.mark.parametrize(
    "value", ["a b", "käse", 3, 0.1, True, None, [1, "x"], {"en": {"path": "a.txt", "limit": 3}}]
)
def test_a_value_comes_back(value):
    (word,) = option("a.b", value)
    key, _, text = word.partition("=")
    assert key == "--a.b"
    assert yaml.safe_load(text) == value
