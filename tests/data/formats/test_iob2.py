"""Reading IOB2: two columns, stray I- tags kept, errors that name file and line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ltsft.data.formats.iob2 import EntitySentence, count_stray, read_iob2
from ltsft.errors import LtsftError

NER = Path(__file__).parents[4] / "shared/data/ner"


def test_sentences(write: Callable[..., str]) -> None:
    """A byte order mark is no part of a token; tabs or spaces separate; stray tags stay."""
    path = write("a.txt", "\ufeffAn I-PER\nna\tO\n\n\n# O\nB B-LOC\r\nC I-LOC")
    first = EntitySentence(["An", "na"], ["I-PER", "O"], line=1)
    second = EntitySentence(["#", "B", "C"], ["O", "B-LOC", "I-LOC"], line=5)
    assert read_iob2(path) == [first, second]
    assert read_iob2(path, limit=1) == [first]
    assert count_stray([first.tags, second.tags]) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", r"at least one sentence of `token tag` lines"),
        ("a O\nb\n", r"line 2: .* a token and its tag, .* got 1 columns: 'b'"),
        ("a NNP O\n", r"line 1: .* got 3 columns"),
        (" O\n", r"line 1: .* got 2 columns"),
        ("a S-PER\n", r"line 1: the tag .* \(IOB2\), but got 'S-PER'"),
        ("a O\n\nb 7\n", r"line 3: the tag .* got '7'"),
        (b"\xff\xfea\x00", r"expected to be plain UTF-8 text, but is UTF-16"),
    ],
)
def test_broken_files(write: Callable[..., str], text: str | bytes, message: str) -> None:
    path = write("broken.txt", text)
    with pytest.raises(LtsftError, match=message) as caught:
        read_iob2(path)
    assert path in str(caught.value)


@pytest.mark.skipif(not NER.exists(), reason="no real corpora here")
@pytest.mark.parametrize(
    ("name", "num_sentences", "num_stray"),
    [("eng/dev", 1500, 55), ("luo/train", 644, 0), ("pcm/train", 2124, 5)],
)
def test_real_corpora(name: str, num_sentences: int, num_stray: int) -> None:
    """Counts as the corpora's own description gives them."""
    sentences = read_iob2(NER / f"{name}.txt")
    assert len(sentences) == num_sentences
    assert count_stray(s.tags for s in sentences) == num_stray


def test_blanks_at_the_end_of_a_line_are_no_column(tmp_path):
    path = tmp_path / "a.iob2"
    path.write_text("Ada B-PER \nran O\n\n")
    (sentence,) = read_iob2(path)
    assert (sentence.words, sentence.tags) == (["Ada", "ran"], ["B-PER", "O"])
