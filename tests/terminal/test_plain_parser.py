"""The parser of commands that have no YAML."""

import pytest

from ltsft.errors import LtsftError
from ltsft.terminal.plain_parser import PlainParser


def parser():
    parser = PlainParser("ltsft x")
    parser.add_argument("--weight")
    return parser


def test_it_raises_with_the_way_to_its_help():
    with pytest.raises(LtsftError, match="see `ltsft x --help`"):
        parser().parse_args(["--nope"])


def test_it_says_what_was_meant():
    with pytest.raises(LtsftError, match=r"--wieght 1; did you mean --weight\?"):
        parser().parse_args(["--wieght", "1"])
