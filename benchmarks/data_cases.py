"""From text to batches, and from batches to scores; cases as in `benchmarks.cases`.

Text, tokenizer and treebank are made up: nothing is read but what is here.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertModel, PreTrainedTokenizerFast

from benchmarks.sizes import Size
from ltsft.batch import Batch
from ltsft.data import ParsingData, Source
from ltsft.data.artificial import family
from ltsft.data.encoding.blocks import cut_blocks
from ltsft.data.encoding.cache import VARIABLE
from ltsft.data.encoding.words import tokenize_words
from ltsft.data.labels import RELATIONS
from ltsft.tasks import Parser

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS_AT_ONCE = 1000


def _pieces() -> list[str]:
    """8,000 of which words are made."""
    rng = random.Random(0)
    return ["".join(rng.choices(LETTERS, k=rng.randint(2, 5))) for _ in range(8_000)]


def _sentences() -> list[list[str]]:
    """Words as frequent as in a language (Zipf): 5,000 sentences, 112,000 words, 22,000 forms."""
    rng = random.Random(0)
    pieces = _pieces()
    forms = ["".join(rng.choices(pieces, k=rng.randint(1, 3))) for _ in range(100_000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(forms) + 1)))
    return [rng.choices(forms, cum_weights=weights, k=rng.randint(5, 40)) for _ in range(5_000)]


def _tokenizer() -> PreTrainedTokenizerFast:
    """Of XLM-R's kind: pieces within a word and at its beginning, each with a probability."""
    rng = random.Random(0)
    scores = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>"], 0.0)
    scores |= {start + piece: rng.uniform(-10, -5) for piece in _pieces() for start in ("", "▁")}
    scores |= dict.fromkeys("▁" + LETTERS, -9.0)  # so that nothing is unknown
    ids = {piece: id for id, piece in enumerate(scores)}
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=ids["<unk>"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[(token, ids[token]) for token in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


def _repeated(work: Callable[[], Any]) -> Iterator[float]:
    while True:
        start = time.perf_counter()
        work()
        yield time.perf_counter() - start


def _bare(texts: list[Any], is_split: bool) -> Iterator[float]:
    backend = _tokenizer().backend_tokenizer

    def work() -> None:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            portion = texts[start : start + TEXTS_AT_ONCE]
            backend.encode_batch_fast(portion, is_pretokenized=is_split, add_special_tokens=False)

    return _repeated(work)


def input_bare(size: Size) -> Iterator[float]:
    """The backend's fast call over lines, whose results nobody takes."""
    return _bare([" ".join(words) for words in _sentences()], is_split=False)


def input_blocks(size: Size) -> Iterator[float]:
    """`cut_blocks`: from the same lines to blocks."""
    lines, tokenizer = [" ".join(words) for words in _sentences()], _tokenizer()
    return _repeated(lambda: cut_blocks(lines, tokenizer, 128, option="text", progress=False))


def words_bare(size: Size) -> Iterator[float]:
    """The backend's fast call over sentences that are lists of words."""
    return _bare(_sentences(), is_split=True)


def words_tokenized(size: Size) -> Iterator[float]:
    """`tokenize_words`: to ids, and where the words went."""
    os.environ[VARIABLE] = ""  # nothing is to come from the cache
    sentences, tokenizer = _sentences(), _tokenizer()
    return _repeated(lambda: tokenize_words(sentences, tokenizer, 128, progress=False))


def _on_batches(
    size: Size, prepare: Callable[[Parser], Callable[[Batch], object]]
) -> Iterator[float]:
    """Something done to batches of sentences with trees, with a parser of random weights.

    So hardly a sentence has a tree greedily, and no gold arc is predicted but by chance: nothing
    costs a trained parser more.
    """
    with TemporaryDirectory() as folder:
        torch.manual_seed(0)
        BertModel(size.config).save_pretrained(folder)
        family(0).tokenizer().save_pretrained(folder)
        parser = Parser(labels=RELATIONS, base_model=folder).eval()
        sentences = Source("artificial:elmu", limit=8 * size.num_sentences)
        data = ParsingData(folder, validation={"elmu": sentences}, max_length=size.length)
        batches = list(data.val_dataloader()[0])
    for biaffine in (parser.model.biaffine_arcs, parser.model.biaffine_rels):
        torch.nn.init.normal_(biaffine.weight)
    work = prepare(parser)

    @torch.inference_mode()
    def over_all() -> None:
        for batch in batches:
            work(batch)

    return _repeated(over_all)


def evaluation_encoder(size: Size) -> Iterator[float]:
    """A parser's encoder alone."""

    def prepare(parser: Parser) -> Callable[[Batch], object]:
        names = "input_ids", "attention_mask"
        return lambda batch: parser.model.base_model(**{name: batch[name] for name in names})

    return _on_batches(size, prepare)


def evaluation_parser(size: Size) -> Iterator[float]:
    """A parser's loss, trees and scores."""

    def prepare(parser: Parser) -> Callable[[Batch], object]:
        metrics = parser.make_metrics()
        return lambda batch: parser.score(batch, metrics)

    return _on_batches(size, prepare)
