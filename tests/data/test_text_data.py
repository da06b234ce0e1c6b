"""TextData: blocks, the held-out share, and masks that depend on nothing but the draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ltsft.data import Source, TextData
from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.errors import LtsftError

MINI = Path(__file__).parents[3] / "shared/models/mini-mmt"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def corpus(write: Callable[..., str]) -> str:
    """40 lines of together 40 · 26 letters, one token each."""
    return write("en.txt", "\n".join(f"{LETTERS[:13]} {LETTERS[13:]}" for _ in range(40)))


def restored(batch: dict[str, Any]) -> torch.Tensor:
    """The batch's tokens before masking."""
    return torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])


def same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a[name], b[name])
        for a, b in zip(left, right, strict=True)
        for name in ("input_ids", "labels")
    )


@pytest.mark.parametrize("pad_id", [0, 1])
def test_blocks_are_the_corpus(
    make_tokenizer: Callable[..., str], corpus: str, pad_id: int
) -> None:
    """Unmasked, held-out and training blocks together are the corpus in order, less its end.

    Each block has its own special tokens, and they count towards its length.
    """
    name = make_tokenizer(pad_id)
    data = TextData(name, text=corpus, max_length=10, held_out=0.1, global_batch_size=1)
    (validation,) = data.val_dataloader()
    held = torch.cat([restored(batch) for batch in validation])
    training = data.train_dataloader()
    blocks = torch.cat([restored(batch) for batch in training])
    order = training.batch_sampler.order()
    together = torch.cat([held, blocks[order.argsort()]])
    tokenizer = load_tokenizer(name, 10)
    ids = [i for line in Path(corpus).read_text().split("\n") for i in tokenizer(line)["input_ids"]]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = [i for i in ids if i not in (cls, sep)]
    assert len(held) == round(0.1 * len(together)) == 13
    assert together.shape == (1040 // 8, 10)
    assert together[:, 1:-1].flatten().tolist() == ids[: 1040 // 8 * 8]
    assert set(together[:, 0].tolist()) == {cls}
    assert set(together[:, -1].tolist()) == {sep}


def test_masks(make_tokenizer: Callable[..., str], corpus: str) -> None:
    """Specials are never chosen and never random; each pass has other masks; evaluation has not."""
    data = TextData(make_tokenizer(), text=corpus, max_length=10, eval_batch_size=4)
    training = data.train_dataloader()
    first = list(training)
    assert same(first, list(training))
    training.set_pass("dense", 1)
    assert not same(first, list(training))
    (validation,) = data.val_dataloader()
    assert same(list(validation), list(validation))
    assert same(list(validation), list(data.test_dataloader()[0]))
    for batch in first:
        assert (batch["labels"][:, [0, -1]] == -100).all()
        inside = batch["input_ids"][:, 1:-1]
        assert ((inside == 4) | (inside > 4)).all()  # the mask token or a letter
        assert batch["language"] == "en"


def test_one_example_has_one_mask_per_pass(make_tokenizer: Callable[..., str], corpus: str) -> None:
    """The same block in the same pass is masked alike in batches of any size."""
    rows: list[dict[int, tuple[int, ...]]] = []
    for size in (2, 4):
        data = TextData(make_tokenizer(), text=corpus, max_length=64, global_batch_size=size)
        loader = data.train_dataloader()
        drawn = [draw.example for batch in loader.batch_sampler for draw in batch]
        labels = [tuple(row) for batch in loader for row in batch["labels"].tolist()]
        rows.append(dict(zip(drawn, labels, strict=True)))
    assert rows[0] == rows[1]


def test_workers_change_nothing(make_tokenizer: Callable[..., str], corpus: str) -> None:
    loaders = [
        TextData(make_tokenizer(), text=corpus, max_length=20, num_workers=num_workers)
        for num_workers in (0, 2)
    ]
    assert same(*(list(data.train_dataloader()) for data in loaders))
    assert same(*(list(data.val_dataloader()[0]) for data in loaders))


@pytest.mark.parametrize("held_out", [0.0001, 0.9999])
def test_each_side_has_a_block(
    make_tokenizer: Callable[..., str], write: Callable[..., str], held_out: float
) -> None:
    text = write("xx.txt", LETTERS * 2)
    data = TextData(make_tokenizer(), text=text, max_length=28, held_out=held_out)
    assert [len(batch["labels"]) for batch in data.val_dataloader()[0]] == [1]
    assert data.train_dataloader().batch_sampler.sizes == [1]


def test_no_validation(make_tokenizer: Callable[..., str], corpus: str) -> None:
    data = TextData(make_tokenizer(), text=corpus, max_length=10, held_out=0)
    assert data.val_dataloader() == []
    assert data.evaluation_languages("validate") == []
    assert data.train_dataloader().batch_sampler.sizes == [130]
    with pytest.raises(LtsftError, match="`data.init_args.test` .* where nothing is held out"):
        data.test_dataloader()


def test_validation_corpus(
    make_tokenizer: Callable[..., str], corpus: str, write: Callable[..., str]
) -> None:
    """Then nothing of the training corpus is held out."""
    other = write("other.txt", "z" * 26)
    data = TextData(
        make_tokenizer(), "xx", corpus, validation=Source(other), max_length=10, eval_batch_size=2
    )
    batches = list(data.val_dataloader()[0])
    assert [batch["labels"].shape for batch in batches] == [(2, 10), (1, 10)]
    assert {batch["language"] for batch in batches} == {"xx"}
    assert data.train_dataloader().batch_sampler.sizes == [130]
    assert data.evaluation_languages("fit") == ["xx"]


def test_a_corpus_to_test_on(
    make_tokenizer: Callable[..., str], corpus: str, write: Callable[..., str]
) -> None:
    """Alone, or beside one to train on; without it a test says what it scores."""
    other = write("en-new.txt", LETTERS * 3)
    alone = TextData(make_tokenizer(), test=other, max_length=10, eval_batch_size=2)
    beside = TextData(make_tokenizer(), text=corpus, test=other, max_length=10, eval_batch_size=2)
    assert [data.evaluation_languages("test") for data in (alone, beside)] == [["en"], ["en"]]
    assert [data.evaluation_languages("validate") for data in (alone, beside)] == [[], ["en"]]
    batches = [list(loader) for loader in alone.test_dataloader()]
    assert same(*batches, list(beside.test_dataloader()[0]))
    expected = TextData(make_tokenizer(), text=other, held_out=0, max_length=10)
    (num_blocks,) = expected.train_dataloader().batch_sampler.sizes
    assert sum(len(batch["labels"]) for batch in batches[0]) == num_blocks
    assert alone.val_dataloader() == []
    with pytest.raises(LtsftError, match="`data.init_args.text` .* it is empty"):
        alone.train_dataloader()
    with pytest.warns(match="Scored is what validation scored"):
        TextData(make_tokenizer(), text=corpus, max_length=10).test_dataloader()


def test_short_corpus(make_tokenizer: Callable[..., str], write: Callable[..., str]) -> None:
    """The length that the error names works, one more does not."""
    text = write("xx.txt", LETTERS)
    data = TextData(make_tokenizer(), text=text, max_length=16)
    message = r"`data.init_args.text` .* 2 block\(s\) of 16 .* has 26 tokens; .* at most 15"
    with pytest.raises(LtsftError, match=message):
        data.setup()
    TextData(make_tokenizer(), text=text, max_length=15).setup()
    nothing = TextData(make_tokenizer(), text=write("yy.txt", "\a\n"), max_length=16)
    with pytest.raises(LtsftError, match=r"has 0 tokens; give more text"):
        nothing.setup()


def test_no_mask_token(make_tokenizer: Callable[..., str], corpus: str) -> None:
    data = TextData(make_tokenizer(mask=False), text=corpus, max_length=10)
    with pytest.raises(LtsftError, match=r"expected to have a mask token, but .* has none"):
        data.setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ""}, "`data.init_args.text` is expected to name a corpus"),
        ({"held_out": 1.0}, "`data.init_args.held_out` .* below 1 .* got 1.0"),
        ({"mask_probability": 0.0}, "`data.init_args.mask_probability` .* got 0.0"),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LtsftError, match=message):
        TextData(**{"text": "x.txt", **options})


@pytest.mark.skipif(not MINI.exists(), reason="no real model here")
def test_real_tokenizer() -> None:
    """XLM-R's tokenizer, whose padding id is 1, on a real corpus."""
    text = Source(str(MINI.parents[1] / "data/text/bxr.txt"))
    data = TextData(str(MINI), text=text, max_length=32)
    (batch,) = list(data.val_dataloader()[0])
    assert data.language == "bxr"
    assert (batch["input_ids"][:, 0] == 0).all()
    assert (batch["input_ids"][:, -1] == 2).all()
    assert not (batch["input_ids"] == 1).any()
