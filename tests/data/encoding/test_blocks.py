"""Blocks: the corpus in order between special tokens, and a bar where it takes long."""

import sys
from collections.abc import Callable

import pytest
import torch

from ltsft.data.encoding.blocks import cut_blocks
from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.errors import LtsftError


def test_large_corpora_show_a_bar(
    make_tokenizer: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a terminal; a log on disk would be full of carriage returns."""
    monkeypatch.setattr("ltsft.data.encoding.portions.SECONDS_BEFORE_A_BAR", 0)
    tokenizer = load_tokenizer(make_tokenizer(), 10)
    cut_blocks(["abcd"] * 20_000, tokenizer, 10, option="k")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    blocks, is_text = cut_blocks(["abcd"] * 20_000, tokenizer, 10, option="k")
    assert blocks.shape == (10_000, 10)
    assert is_text.sum() == 8
    assert "tokenising" in capsys.readouterr().err
    cut_blocks(["abcd"] * 20_000, tokenizer, 10, option="k", progress=False)
    assert capsys.readouterr().err == ""


def test_blocks_are_the_corpus_in_order(make_tokenizer: Callable[..., str]) -> None:
    """Line ends do not matter; what does not fill the last block is left out."""
    tokenizer = load_tokenizer(make_tokenizer(), 6)
    blocks, is_text = cut_blocks(["abc", "\a", "defgh", "ij"], tokenizer, 6, option="k")
    assert blocks.dtype == torch.int32
    assert is_text.tolist() == [False, True, True, True, True, False]
    assert [tokenizer.decode(row) for row in blocks] == [
        "[CLS] a ##b ##c d [SEP]",
        "[CLS] ##e ##f ##g ##h [SEP]",
    ]


def test_too_little_text(make_tokenizer: Callable[..., str]) -> None:
    """The length that is named would do; where no length would, none is named."""
    tokenizer = load_tokenizer(make_tokenizer(), 6)
    with pytest.raises(LtsftError, match=r"`k` .* 2 block\(s\) of 6 .* 5 tokens; .* at most 4, or"):
        cut_blocks(["abcde"], tokenizer, 6, option="k", min_blocks=2)
    assert len(cut_blocks(["abcde"], tokenizer, 4, option="k", min_blocks=2)[0]) == 2
    with pytest.raises(LtsftError, match=r"it has 1 tokens; give more text\."):
        cut_blocks(["a"], tokenizer, 6, option="k", min_blocks=2)
