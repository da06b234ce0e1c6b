"""Results are found by what they depend on, and made again where they cannot be kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ltsft.data import TaggingData, TextData
from ltsft.data.encoding.cache import cache_folder, cached

LARGE = 2**18  # float32 entries of a result worth keeping


class Maker:
    """Counts how often it was asked."""

    def __init__(self, size: int = LARGE) -> None:
        self.size = size
        self.count = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.count += 1
        return {"x": torch.arange(float(self.size))}


def test_a_result_is_made_once() -> None:
    make = Maker()
    first, second = cached(["a", "b"], make), cached(["a", "b"], make)
    assert make.count == 1
    assert torch.equal(first["x"], second["x"])
    cached(["ab"], make)
    assert make.count == 2


def test_small_results_are_not_kept() -> None:
    make = Maker(size=10)
    cached(["a"], make)
    cached(["a"], make)
    assert make.count == 2


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTSFT_CACHE", "")
    make = Maker()
    assert cache_folder() is None
    cached(["a"], make)
    cached(["a"], make)
    assert make.count == 2


def test_a_damaged_file_is_made_again() -> None:
    make = Maker()
    cached(["a"], make)
    folder = cache_folder()
    assert folder is not None
    (path,) = folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    assert len(cached(["a"], make)["x"]) == LARGE
    assert make.count == 2


def test_a_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LTSFT_CACHE", str(tmp_path / "file" / "below"))
    assert len(cached(["a"], Maker())["x"]) == LARGE


def test_data_come_from_the_cache(
    make_tokenizer: Callable[..., str],
    write: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second time without tokenising; after any change of text, length or tokenizer anew."""
    monkeypatch.setattr("ltsft.data.encoding.cache.MIN_BYTES", 0)
    folder = cache_folder()
    assert folder is not None

    def num_kept() -> int:
        return len(list(folder.glob("*.safetensors")))

    tokenizer = make_tokenizer()
    text, tagged = write("xx.txt", "abcdefgh\n" * 30), write("a.iob2", "ab O\nc B-PER\n\n")

    def batches(max_length: int = 12) -> list[torch.Tensor]:
        blocks = TextData(tokenizer, "xx", text, max_length=max_length)
        words = TaggingData(tokenizer, test={"xx": tagged}, format="iob2", max_length=max_length)
        loaders = [blocks.train_dataloader(), words.test_dataloader()[0]]
        return [batch["input_ids"] for loader in loaders for batch in loader]

    first = batches()
    assert num_kept() == 2
    for left, right in zip(first, batches(), strict=True):
        assert torch.equal(left, right)
    assert num_kept() == 2
    batches(max_length=11)
    assert num_kept() == 4
    write("xx.txt", "abcdefgi\n" * 30)
    batches()
    assert num_kept() == 5
    tokenizer = make_tokenizer(1)
    batches()
    assert num_kept() == 7
