"""Sentences of the artificial languages: the same each time, in one split each, well annotated."""

import hashlib
from itertools import combinations
from pathlib import Path

import pytest
from seqeval.scheme import IOB2, Entities
from udtools.udeval import load_conllu_file

from ltsft.data.artificial import Sentence, family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.data.formats.conllu import read_conllu
from ltsft.data.labels import ENTITIES, UPOS
from ltsft.errors import LtsftError

# fmt: off
RELATIONS = {
    "acl", "advcl", "advmod", "amod", "appos", "aux", "case", "cc", "ccomp", "clf", "compound",
    "conj", "cop", "csubj", "dep", "det", "discourse", "dislocated", "expl", "fixed", "flat",
    "goeswith", "iobj", "list", "mark", "nmod", "nsubj", "nummod", "obj", "obl", "orphan",
    "parataxis", "punct", "reparandum", "root", "vocative", "xcomp",
}
# fmt: on
"""The 37 of https://universaldependencies.org/u/dep/."""

SPLITS = ("train", "validation", "test")

each_language = pytest.mark.parametrize("name", WORD_ORDERS)


@pytest.fixture(scope="module")
def languages():
    return family(0)


def digest(languages) -> str:
    hasher = hashlib.sha256()
    for name in languages:
        for split in SPLITS:
            for sentence in languages[name].sentences(20, split):
                hasher.update(repr(sentence).encode())
            for pair in languages[name].pairs(20, split):
                hasher.update(repr(pair).encode())
    return hasher.hexdigest()


def test_a_seed_is_a_family():
    """The same on every machine; another checksum makes other numbers of all that were reported."""
    assert digest(family(0)) == "d9e2e73af9aedd62bb1f1ff64e9c2cc4fc72f186929f8347b207701b63259c7e"
    assert digest(family(0)) == digest(family(0)) != digest(family(1))


@each_language
def test_asking_for_more_gives_the_same_beginning(languages, name):
    language = languages[name]
    for split in SPLITS:
        assert language.sentences(40, split)[:15] == language.sentences(15, split)
        assert language.text(40, split)[:15] == language.text(15, split)
        assert language.pairs(40, split)[:16] == language.pairs(16, split)
    assert language.sentences(0) == language.text(0) == language.pairs(0) == []


@each_language
def test_no_sentence_is_in_two_splits(languages, name):
    """Neither a sentence nor a premise, nor a premise of one among the sentences of another."""
    seen = {
        split: set(languages[name].text(1500, split))
        | {pair.premise for pair in languages[name].pairs(600, split)}
        for split in SPLITS
    }
    for one, other in combinations(SPLITS, 2):
        assert not seen[one] & seen[other]
    assert all(len(texts) > 1000 for texts in seen.values())  # not one sentence again and again


def is_tree(sentence: Sentence) -> bool:
    """One root, from which every word is reached: a walk from each word upwards."""
    if sentence.heads.count(0) != 1:
        return False
    for word in range(1, len(sentence.heads) + 1):
        path = {word}
        while (head := sentence.heads[word - 1]) != 0:
            if head in path or not 1 <= head <= len(sentence.heads):
                return False
            path.add(head)
            word = head
    return True


@each_language
def test_trees_are_trees(languages, name):
    """By a walk, by our reader of treebanks and by the official evaluation's, which checks too."""
    sentences = languages[name].sentences(300)
    lines = []
    for sentence in sentences:
        assert is_tree(sentence)
        assert sentence.relations[sentence.heads.index(0)] == "root"
        assert sentence.relations.count("root") == 1
        for number, row in enumerate(
            zip(sentence.words, sentence.tags, sentence.heads, sentence.relations, strict=True), 1
        ):
            word, tag, head, relation = row
            lines.append(f"{number}\t{word}\t_\t{tag}\t_\t_\t{head}\t{relation}\t_\t_")
        lines.append("")
    Path("trees.conllu").write_text("\n".join([*lines, ""]), encoding="utf-8")
    read = read_conllu("trees.conllu")
    assert [s.heads for s in read] == [s.heads for s in sentences]
    assert len(load_conllu_file("trees.conllu").sentences) == len(sentences)


@each_language
def test_annotation_is_of_the_inventories(languages, name):
    """Every tag, relation and kind of entity is known; the frequent ones all occur."""
    sentences = languages[name].sentences(500)
    tags = {tag for sentence in sentences for tag in sentence.tags}
    assert tags == set(UPOS) - {"INTJ", "SYM", "X"}
    assert {r for sentence in sentences for r in sentence.relations} <= RELATIONS
    assert {e for sentence in sentences for e in sentence.entities} == set(ENTITIES) - {"I-LOC"}
    for sentence in sentences:
        for tag, relation, entity in zip(
            sentence.tags, sentence.relations, sentence.entities, strict=True
        ):
            assert (tag == "PUNCT") == (relation == "punct")
            assert (tag == "ADP") == (relation == "case")
            assert (entity != "O") == (tag == "PROPN")


@each_language
def test_entities_are_valid_iob2(languages, name):
    """An entity begins with B-; seqeval finds as many as begin, and all their words."""
    sentences = languages[name].sentences(300)
    for sentence in sentences:
        for before, tag in zip(["O", *sentence.entities], sentence.entities, strict=False):
            assert not tag.startswith("I-") or before[1:] == tag[1:]
    tags = [sentence.entities for sentence in sentences]
    found = [entity for entities in Entities(tags, scheme=IOB2).entities for entity in entities]
    assert len(found) == sum(tag.startswith("B-") for sentence in tags for tag in sentence)
    assert sum(entity.end - entity.start for entity in found) == sum(
        tag != "O" for sentence in tags for tag in sentence
    )


@each_language
def test_text_is_the_words(languages, name):
    sentences = languages[name].sentences(200)
    assert languages[name].text(200) == [" ".join(sentence.words) for sentence in sentences]
    for sentence in sentences:
        assert sentence.words[-1] == "."
        assert all(word.isalpha() and word.islower() for word in sentence.words[:-1])


def places(sentences: list[Sentence], relation: str, head_tag: str) -> set[bool]:
    """Whether words of a relation come after their heads."""
    return {
        place + 1 > head
        for sentence in sentences
        for place, (head, found) in enumerate(zip(sentence.heads, sentence.relations, strict=True))
        if found == relation and sentence.tags[head - 1] == head_tag
    }


@each_language
def test_word_order(languages, name):
    """Where words stand, read off the trees, is what the language's order says, always."""
    order, sentences = WORD_ORDERS[name], languages[name].sentences(400)
    subject, verb, obj = (order.clause.index(letter) for letter in "SVO")
    assert places(sentences, "nsubj", "VERB") == {subject > verb}
    assert places(sentences, "obj", "VERB") == {obj > verb}
    assert places(sentences, "amod", "NOUN") == {not order.adjective_first}
    assert places(sentences, "case", "NOUN") == {not order.prepositions}
    assert places(sentences, "det", "NOUN") == {False}


def test_mistakes(languages):
    with pytest.raises(LtsftError, match="one of alora, .* but got 'klingon'"):
        languages["klingon"]
    with pytest.raises(LtsftError, match="`split` is expected to be one of train, .* 'dev'"):
        languages["alora"].sentences(1, "dev")
    with pytest.raises(LtsftError, match="expected to be 0 or more, but got -1"):
        languages["alora"].pairs(-1)
