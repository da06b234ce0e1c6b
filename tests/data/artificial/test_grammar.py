"""Sentences: trees, inventories, entities and word order."""

from pathlib import Path

import pytest
from seqeval.scheme import IOB2, Entities
from udtools.udeval import load_conllu_file

from ltsft.data.artificial import Sentence, family
from ltsft.data.artificial.family import WORD_ORDERS
from ltsft.data.formats.conllu import read_conllu
from ltsft.data.labels import ENTITIES, UPOS

RELATIONS = {
    "acl",
    "advcl",
    "advmod",
    "amod",
    "appos",
    "aux",
    "case",
    "cc",
    "ccomp",
    "clf",
    "compound",
    "conj",
    "cop",
    "csubj",
    "dep",
    "det",
    "discourse",
    "dislocated",
    "expl",
    "fixed",
    "flat",
    "goeswith",
    "iobj",
    "list",
    "mark",
    "nmod",
    "nsubj",
    "nummod",
    "obj",
    "obl",
    "orphan",
    "parataxis",
    "punct",
    "reparandum",
    "root",
    "vocative",
    "xcomp",
}
# fmt: on
"""The 37 of https://universaldependencies.org/u/dep/."""


each_language = pytest.mark.parametrize("name", WORD_ORDERS)


@pytest.fixture(scope="module")
def languages():
    return family(0)


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
