"""Config files are looked at before a parser reads them."""

from pathlib import Path

import pytest

from ltsft.errors import LtsftError
from ltsft.terminal.config_file import check_configs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", r"c.yaml, line 2: the config is expected to be YAML"),
        ("- 1\n", "expected to have keys and values, but has"),
        ("", "but has nothing"),
    ],
)
@pytest.mark.parametrize("words", [["--config", "c.yaml"], ["--config=c.yaml"]])
def test_what_is_no_mapping_is_named(text, message, words):
    Path("c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(LtsftError, match=message):
        check_configs(["fit", *words])


def test_a_missing_file_is_named_and_others_pass():
    Path("good.yaml").write_text("a: 1\n", encoding="utf-8")
    check_configs(["fit", "--config", "good.yaml", "--other", "bad.yaml"])
    with pytest.raises(LtsftError, match="'bad.yaml' is no file"):
        check_configs(["--config", "good.yaml", "--config", "bad.yaml"])


@pytest.mark.parametrize(
    "text", ["a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "a: 1\nb:\n- {c: 1,\n   d: 2,\n   'c': 3}\n"]
)
def test_a_key_that_comes_twice_is_named_with_both_lines(text):
    Path("c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(LtsftError, match=r"c.yaml, line 5: .* once, but `c` is in line 3 too"):
        check_configs(["--config", "c.yaml"])


def test_keys_that_only_look_alike_may_stay():
    """In other mappings, or put over merged ones."""
    text = "a: &a {c: 1, d: 2}\nb: {c: 1}\ne: {<<: *a, c: 3}\nf: [{c: 1}, {c: 2}]\n"
    Path("c.yaml").write_text(text, encoding="utf-8")
    check_configs(["--config", "c.yaml"])
