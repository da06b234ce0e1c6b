"""Attachment scores, judged by the official scorer `udtools` and by a hand-written loop."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from udtools.udeval import evaluate, load_conllu_file  # type: ignore[import-untyped]

from ltsft.metrics import (
    AttachmentScore,
    count_attachments,
    decode_trees,
)

TREEBANKS = Path(__file__).parents[2] / "../shared/data/ud"
RELATIONS = ["acl", "nsubj", "obj", "punct", "root"]


@dataclass
class Sentence:
    """A parse and its gold standard."""

    heads: list[int]
    relations: list[str]
    gold_heads: list[int]
    gold_relations: list[str]


def random_tree(length: int, generator: torch.Generator) -> list[int]:
    scores = torch.rand(1, length, length + 1, generator=generator)
    return decode_trees(scores, torch.ones(1, length, dtype=torch.bool))[0].tolist()


def noisy_tree(
    heads: list[int], noise: float, generator: torch.Generator, limit: int = 1000
) -> list[int]:
    """A tree that is right about many of the first `limit` words, and about none after them.

    The gold tree's scores with noise, decoded; gold arcs of words beyond the limit are forbidden.
    """
    gain = torch.where(torch.arange(len(heads)) < limit, 1.0, -math.inf)
    scores = noise * torch.rand(1, len(heads), len(heads) + 1, generator=generator)
    scores[0, torch.arange(len(heads)), torch.tensor(heads)] += gain
    return decode_trees(scores, torch.ones(1, len(heads), dtype=torch.bool))[0].tolist()


def padded(rows: list[list[int]], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=value
    )


def score(sentences: list[Sentence], batch_size: int) -> dict[str, float]:
    """Our official scores."""
    names = sorted({name.split(":")[0] for s in sentences for name in s.gold_relations})
    index = {name: i for i, name in enumerate(names)}

    def numbered(relations: list[str]) -> list[int]:
        return [index.get(name.split(":")[0], len(names)) for name in relations]

    metrics = {"uas": AttachmentScore(labelled=False), "las": AttachmentScore()}
    for start in range(0, len(sentences), batch_size):
        batch = sentences[start : start + batch_size]
        for metric in metrics.values():
            metric.update(
                padded([s.heads for s in batch], -1),
                padded([numbered(s.relations) for s in batch], 0),
                padded([s.gold_heads for s in batch], -100),
                padded([numbered(s.gold_relations) for s in batch], -100),
            )
    return {name: metric.compute().item() for name, metric in metrics.items()}


def official(gold: Path, predicted: Path) -> dict[str, float]:
    scores = evaluate(load_conllu_file(str(gold)), load_conllu_file(str(predicted)))
    return {"uas": scores["UAS"].f1, "las": scores["LAS"].f1}


# --- Against udtools ----------------------------------------------------------------------------


def write_conllu(path: Path, trees: list[tuple[list[int], list[str]]]) -> None:
    sentences = [
        "".join(
            f"{word}\tw{word}\t_\t_\t_\t_\t{head}\t{relation}\t_\t_\n"
            for word, (head, relation) in enumerate(zip(heads, relations, strict=True), start=1)
        )
        for heads, relations in trees
    ]
    path.write_text("\n".join(sentences) + "\n", encoding="utf-8")


@pytest.mark.parametrize("noise", [0.0, 1.5, 4.0])
def test_equals_udtools_on_random_trees(noise: float, tmp_path: Path) -> None:
    """To the last digit, with sub-types, sentences of one word, and batches that end short."""
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)
    sentences = []
    for number in range(60):
        gold_heads = random_tree(1 + number % 12, generator)
        gold_relations = [rng.choice([*RELATIONS, "nsubj:pass"]) for _ in gold_heads]
        relations = [
            rng.choice([*RELATIONS, "obj:x", "dep"]) if rng.random() < noise / 5 else relation
            for relation in gold_relations
        ]
        sentences.append(
            Sentence(
                noisy_tree(gold_heads, noise, generator), relations, gold_heads, gold_relations
            )
        )
    gold, predicted = tmp_path / "gold.conllu", tmp_path / "predicted.conllu"
    write_conllu(gold, [(s.gold_heads, s.gold_relations) for s in sentences])
    write_conllu(predicted, [(s.heads, s.relations) for s in sentences])
    expected = official(gold, predicted)
    assert (expected["las"] == 1) == (noise == 0)
    for batch_size in (1, 7, 60):
        assert score(sentences, batch_size) == expected


def blocks(path: Path) -> Iterator[list[str]]:
    """Lines of each sentence."""
    for block in path.read_text(encoding="utf-8").strip("\n").split("\n\n"):
        yield block.split("\n")


def is_word(line: str) -> bool:
    return line.split("\t")[0].isdecimal()


@pytest.mark.skipif(not TREEBANKS.exists(), reason="needs the shared treebanks")
@pytest.mark.parametrize("language", ["ar", "el", "mr", "olo", "tr", "vi"])
def test_equals_udtools_on_treebanks(language: str, tmp_path: Path) -> None:
    """Corrupted trees and relations of real test files: multi-word tokens, empty nodes, sub-types.

    Words beyond the 20th count as cut off: the score gets no answer for them, the scorer a head
    that is surely wrong.
    """
    gold_path = TREEBANKS / language / "test.conllu"
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)
    sentences, lines = [], []
    for block in blocks(gold_path):
        columns = [line.split("\t") for line in block if is_word(line)]
        gold_heads = [int(column[6]) for column in columns]
        gold_relations = [column[7] for column in columns]
        heads = noisy_tree(gold_heads, 1.5, generator, limit=20)
        relations = [
            r if rng.random() < 0.8 else rng.choice(gold_relations) for r in gold_relations
        ]
        answers = iter(zip(heads, relations, strict=True))
        for line in block:
            column = line.split("\t")
            if is_word(line):
                column[6:8] = map(str, next(answers))
            lines.append("\t".join(column))
        lines.append("")
        heads[20:] = [-1] * len(heads[20:])
        sentences.append(Sentence(heads, relations, gold_heads, gold_relations))
    predicted_path = tmp_path / "predicted.conllu"
    predicted_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    actual = score(sentences, batch_size=32)
    assert actual == official(gold_path, predicted_path)
    assert 0.2 < actual["las"] < actual["uas"] < 1


# --- Conventions --------------------------------------------------------------------------------


def test_what_counts_as_right() -> None:
    """Word by word: right, wrong relation, wrong head, no answer, unknown gold label, padding."""
    heads = torch.tensor([0, 1, 1, -1, 2, -1])
    relations = torch.tensor([4, 2, 2, 2, -1, -1])
    gold_heads = torch.tensor([0, 1, 2, 1, 2, -100])
    gold_relations = torch.tensor([4, 3, 2, 2, -1, -100])
    counts = count_attachments(heads, relations, gold_heads, gold_relations)
    assert [int(count) for count in counts] == [3, 1, 5]
    counts = count_attachments(heads, relations, gold_heads, gold_relations, root_arcs=False)
    assert [int(count) for count in counts] == [2, 0, 4]


def test_paper_convention_equals_a_loop_that_skips_gold_roots() -> None:
    """Root arcs are neither asked for nor answered; a wrong root elsewhere is a wrong head."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 4, (9, 6), generator=generator) for _ in range(4)]
    heads, relations, gold_heads, gold_relations = ids
    gold_heads[:, 4:] = -100
    attached = labelled = words = 0
    for sentence in range(9):
        for word in range(4):
            if gold_heads[sentence, word] == 0:
                continue
            words += 1
            if heads[sentence, word] == gold_heads[sentence, word]:
                attached += 1
                labelled += int(relations[sentence, word] == gold_relations[sentence, word])
    for is_labelled, right in ((False, attached), (True, labelled)):
        metric = AttachmentScore(labelled=is_labelled, root_arcs=False)
        metric.update(*ids)
        assert metric.compute().item() == right / words


def test_ranks_add_up() -> None:
    """Counts are summed, not scores averaged: unequal shards score like the whole."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 3, (10, 5), generator=generator) for _ in range(4)]
    whole, first, second = AttachmentScore(), AttachmentScore(), AttachmentScore()
    whole.update(*ids)
    first.update(*(x[:2] for x in ids))
    second.update(*(x[2:] for x in ids))
    first.merge_state(second)
    assert first.compute() == whole.compute()


def test_no_words_score_0_as_in_udtools() -> None:
    metric = AttachmentScore()
    nothing = torch.full((2, 3), -100)
    metric.update(nothing, nothing, nothing, nothing)
    assert metric.compute() == 0


def test_unequal_shapes_are_refused() -> None:
    ids = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"have one shape, but got \(2, 3\), \(2, 3\), \(2, 4\)"):
        count_attachments(ids, ids, torch.zeros(2, 4), ids)
