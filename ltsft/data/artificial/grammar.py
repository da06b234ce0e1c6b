"""The common grammar of the artificial languages: from what is said to words and a tree."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ltsft.data.artificial.lexicon import Lexicon
from ltsft.data.artificial.meaning import Clause, NounPhrase


@dataclass(frozen=True)
class WordOrder:
    """Where a language puts its words.

    Args:
        clause: order of subject, verb and object.
        adjective_first: adjectives before their noun.
        prepositions: adpositions and subordinators come first; otherwise last.
        marks_object: objects have an accusative ending.
    """

    clause: Literal["SVO", "SOV", "VSO"] = "SVO"
    adjective_first: bool = True
    prepositions: bool = True
    marks_object: bool = False


@dataclass(frozen=True)
class Sentence:
    """A sentence with all its annotation.

    Args:
        words: the words, the final full stop included.
        tags: UPOS of each word.
        heads: for each word the number of its head, counted from 1; 0 is the root.
        relations: universal relation of each word to its head.
        entities: PER, ORG and LOC in IOB2.
    """

    words: list[str]
    tags: list[str]
    heads: list[int]
    relations: list[str]
    entities: list[str]

    @property
    def text(self) -> str:
        """The words with blanks between them."""
        return " ".join(self.words)


@dataclass
class _Node:
    """A word with what depends on it, on the left and on the right, in their order."""

    word: str
    tag: str
    entity: str = "O"
    relation: str = "root"
    left: "list[_Node]" = field(default_factory=list)
    right: "list[_Node]" = field(default_factory=list)

    def add(self, relation: str, node: "_Node", *, left: bool) -> None:
        """Attach a dependent on the outer edge of one side."""
        node.relation = relation
        if left:
            self.left.insert(0, node)
        else:
            self.right.append(node)

    def walk(self, head: "_Node | None" = None) -> "Iterator[tuple[_Node, _Node | None]]":
        """All words below and this one with their heads, from left to right."""
        for child in self.left:
            yield from child.walk(self)
        yield self, head
        for child in self.right:
            yield from child.walk(self)


@dataclass(frozen=True)
class Grammar:
    """Says a clause in one language.

    Args:
        lexicon: the language's words.
        order: the language's word order.
    """

    lexicon: Lexicon
    order: WordOrder

    def sentence(self, clause: Clause) -> Sentence:
        """The clause as a sentence that ends in a full stop."""
        root = self._clause(clause)
        root.add("punct", _Node(".", "PUNCT"), left=False)
        pairs = list(root.walk())
        number = {id(node): position for position, (node, _) in enumerate(pairs, start=1)}
        return Sentence(
            words=[node.word for node, _ in pairs],
            tags=[node.tag for node, _ in pairs],
            heads=[0 if head is None else number[id(head)] for _, head in pairs],
            relations=[node.relation for node, _ in pairs],
            entities=[node.entity for node, _ in pairs],
        )

    def _clause(self, clause: Clause) -> _Node:
        order, word = self.order, self.lexicon.word
        verb_first, verb_last = order.clause == "VSO", order.clause == "SOV"
        subject = self._noun_phrase(clause.subject)
        tense = ["past" if clause.past else "present"]
        if clause.subject.plural:
            tense.append("agreement")
        if clause.verb is None:
            assert clause.predicate is not None
            head = _Node(word("adjective", clause.predicate, "adjective"), "ADJ")
            copula = _Node(word("copula", 0, *tense), "AUX")
            head.add("cop", copula, left=not verb_last)
        else:
            category = "intransitive" if clause.object is None else "transitive"
            head = _Node(word(category, clause.verb, *tense), "VERB")
            if clause.auxiliary is not None:
                auxiliary = _Node(word("auxiliary", clause.auxiliary), "AUX")
                head.add("aux", auxiliary, left=not verb_last)
        # What stands nearest to the verb is attached first.
        if clause.negated:
            head.add("advmod", _Node(word("negation", 0), "PART"), left=True)
        if clause.adverb is not None:
            adverb = _Node(word("adverb", clause.adverb, "adverb"), "ADV")
            head.add("advmod", adverb, left=verb_last)
        if verb_first:
            head.add("nsubj", subject, left=False)
        if clause.object is not None:
            head.add("obj", self._noun_phrase(clause.object, is_object=True), left=verb_last)
        if clause.oblique is not None:
            head.add("obl", self._with_adposition(*clause.oblique), left=verb_last)
        if not verb_first:
            head.add("nsubj", subject, left=True)
        if clause.subordinate is not None:
            below = self._clause(clause.subordinate)
            mark = _Node(word("subordinator", clause.subordinator), "SCONJ")
            below.add("mark", mark, left=order.prepositions)
            relation = "ccomp" if clause.subordinator == 0 else "advcl"
            head.add(relation, below, left=verb_last)
        if clause.second is not None:
            second = self._clause(clause.second)
            second.add("cc", _Node(word("conjunction", clause.conjunction), "CCONJ"), left=True)
            head.add("conj", second, left=False)
        return head

    def _with_adposition(self, adposition: int, phrase: NounPhrase) -> _Node:
        node = self._noun_phrase(phrase)
        case = _Node(self.lexicon.word("adposition", adposition), "ADP")
        node.add("case", case, left=self.order.prepositions)
        return node

    def _noun_phrase(self, phrase: NounPhrase, *, is_object: bool = False) -> _Node:
        word = self.lexicon.word
        case = ["accusative"] if is_object and self.order.marks_object else []
        if phrase.kind == "pronoun":
            return _Node(word("pronoun", phrase.index, *case), "PRON")
        if phrase.kind == "place":
            return _Node(word("place", phrase.index), "PROPN", "B-LOC")
        if phrase.kind == "person":
            node = _Node(word("first_name", phrase.index), "PROPN", "B-PER")
            if phrase.last_name is not None:
                last = _Node(word("last_name", phrase.last_name), "PROPN", "I-PER")
                node.add("flat", last, left=False)
            return node
        if phrase.kind == "organisation":
            name = word("organisation", phrase.index)
            if phrase.last_name is None:
                return _Node(name, "PROPN", "B-ORG")
            node = _Node(word("last_name", phrase.last_name), "PROPN", "B-ORG")
            node.add("flat", _Node(name, "PROPN", "I-ORG"), left=False)
            return node
        number = ["plural"] if phrase.plural else []
        node = _Node(word("noun", phrase.index, *number, *case), "NOUN")
        if phrase.adjective is not None:
            adjective = _Node(word("adjective", phrase.adjective, "adjective", *number), "ADJ")
            node.add("amod", adjective, left=self.order.adjective_first)
        if phrase.numeral is not None:
            node.add("nummod", _Node(word("numeral", phrase.numeral), "NUM"), left=True)
        if phrase.determiner is not None:
            if phrase.determiner >= 0:
                determiner = word("article", phrase.determiner)
            else:
                determiner = word("demonstrative", -1 - phrase.determiner)
            node.add("det", _Node(determiner, "DET"), left=True)
        if phrase.modifier is not None:
            modifier = self._with_adposition(*phrase.modifier)
            node.add("nmod", modifier, left=not self.order.prepositions)
        return node
