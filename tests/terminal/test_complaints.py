"""What parsers say about a mistake, on one line; whole commands are in tests/commands."""

from dataclasses import dataclass

import pytest

from ltsft.errors import LtsftError
from ltsft.terminal.complaints import OneLineParser, in_words, own_cause


@dataclass
class Options:
    """A group.

    Args:
        size: A number.
    """

    size: int = 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--options.size", "many"], "`options.size` is expected to be int, but got many."),
        (["--options.sizee", "1"], "`options.sizee` is no option; check its spelling"),
        (["--other", "1"], "`other` is no option"),
        ([], "`needed` is expected to be given, but is missing."),
    ],
)
def test_a_parsers_account_becomes_one_sentence(args, message):
    parser = OneLineParser()
    parser.add_argument("--options", type=Options)
    parser.add_argument("--needed", type=int, required=not args)
    with pytest.raises(LtsftError) as caught:
        parser.parse_args(args)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_other_text_stays_as_it_is():
    assert in_words("something else") == "something else"


def test_what_our_own_constructors_raise_is_found_under_the_parsers_error():
    ours = LtsftError("`a` is expected to be b, but got c.")
    error = ValueError("a long account")
    error.__cause__ = ours
    assert own_cause(error) is ours
    assert own_cause(ValueError("nothing of ours")) is None
    assert own_cause(None) is None
