"""Sentences without annotation."""

import gzip
import io
from pathlib import Path

import pytest

from ltsft.data.formats import lines
from ltsft.data.formats.plain import is_plain, read_plain, split_words
from ltsft.errors import LtsftError


def write(text, name="a.txt"):
    Path(name).write_text(text, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("a\nb\n\nc\n", [["a", "b"], ["c"]]),
        ("\n\na\n\n\nb", [["a"], ["b"]]),
        ("a b.\n\nc\n", [["a", "b", "."], ["c"]]),
        ("one\ntwo\n", [["one", "two"]]),
        ("chủ tịch\nnước\n.\n\nông\n", [["chủ tịch", "nước", "."], ["ông"]]),
        (
            "Ja.\nIt is.\nOh, no.\n",
            [["Ja", "."], ["It", "is", "."], ["Oh", ",", "no", "."]],
        ),
        ("\ufeffa b\r\nc d\r\n", [["a", "b"], ["c", "d"]]),
    ],
)
def test_a_word_a_line_or_a_sentence_a_line(text, sentences):
    assert read_plain(write(text)) == sentences
    assert read_plain("a.txt", limit=1) == sentences[:1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(«a»)", ["(", "«", "a", "»", ")"]),
        ("don't re-do", ["don't", "re-do"]),
        ("...", [".", ".", "."]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),  # vowel signs are part of a word
        ("5 € a_b", ["5", "€", "a_b"]),
    ],
)
def test_punctuation_is_split_off_at_the_ends(text, words):
    assert split_words(text) == words


def test_without_a_word_it_is_refused():
    with pytest.raises(LtsftError, match="at least one sentence, but it has no word"):
        read_plain(write("\n  \n"))


@pytest.mark.parametrize(
    ("text", "num_columns", "plain"),
    [
        ("# text = x\n1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n", 10, False),
        ("a\tb\n", 10, True),
        ("a b c\n", 10, True),
        ("Ada B-PER\nran O\n", 2, False),
        ("Ada\tO\n", 2, False),
        ("Ada ran\n", 2, True),
        ("Ada\nran\n", 2, True),
    ],
)
def test_formats_are_told_by_their_first_line(text, num_columns, plain):
    assert is_plain(write(text), num_columns=num_columns) is plain


def test_a_pipe_may_be_read_twice(monkeypatch):

    lines._piped.cache_clear()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("ä b\nc d\n".encode())))
    assert is_plain("-", num_columns=10)
    assert read_plain("-") == [["ä", "b"], ["c", "d"]]
    lines._piped.cache_clear()


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("a b\n".encode("utf-16"), "is UTF-16; convert it .`iconv -f UTF-16 -t UTF-8`"),
        ("a b\n".encode("utf-16-le"), "line 1: .* has zero bytes, as UTF-16 has; .*UTF-16LE"),
        (gzip.compress(b"a b", mtime=0), "is compressed .gzip.; convert it .`gunzip`"),
        ("a\nb\xe9\n".encode("latin-1"), "line 2: .* got the byte 0xe9; .*iconv -f LATIN1"),
    ],
)
def test_other_encodings_get_advice_that_fits(content, advice):
    Path("a.txt").write_bytes(content)
    with pytest.raises(LtsftError, match=advice):
        read_plain("a.txt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nb\nc d\n", "is read as a word a line, for 1 of 3 lines have blanks in them"),
        ("a\nb e\nc d\n", "is read as a sentence a line, for 2 of 3 lines"),
        ("a\nb\n", ""),
        ("a b\n", ""),
    ],
)
def test_what_is_not_clear_is_said(text, said, caplog):
    read_plain(write(text))
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)
