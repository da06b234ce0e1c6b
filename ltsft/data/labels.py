"""Label inventories. They are fixed, not read from the data: targets have labels sources lack."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ltsft.errors import LtsftError

# fmt: off
UPOS = [
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
]
# fmt: on
"""The 17 universal part-of-speech tags, https://universaldependencies.org/u/pos/."""

ENTITIES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
"""The entity types that all corpora share."""

# fmt: off
RELATIONS = [
    "acl", "advcl", "advmod", "amod", "appos", "aux", "case", "cc", "ccomp", "clf", "compound",
    "conj", "cop", "csubj", "dep", "det", "discourse", "dislocated", "expl", "fixed", "flat",
    "goeswith", "iobj", "list", "mark", "nmod", "nsubj", "nummod", "obj", "obl", "orphan",
    "parataxis", "punct", "reparandum", "root", "vocative", "xcomp",
]
# fmt: on
"""The 37 universal dependency relations, https://universaldependencies.org/u/dep/."""

NLI = ["entailment", "neutral", "contradiction"]
"""The three relations of natural language inference, numbered as in XNLI and MultiNLI."""


def map_tag(tag: str, tag_map: Mapping[str, str]) -> str:
    """Rename a tag, or the type of an IOB2 tag.

    Example:
        >>> [map_tag(tag, {"DATE": "O", "PERSON": "PER"}) for tag in ("B-DATE", "I-PERSON", "O")]
        ['O', 'I-PER', 'O']
    """
    if tag in tag_map:
        return tag_map[tag]
    prefix, dash, kind = tag.partition("-")
    if dash and prefix in ("B", "I") and kind in tag_map:
        mapped = tag_map[kind]
        return mapped if mapped == "O" else f"{prefix}-{mapped}"
    return tag


def unknown_labels(tags: Iterable[Sequence[str]], labels: Sequence[str], name: str) -> Counter[str]:
    """Count gold labels outside the inventory.

    Args:
        tags: Gold labels of the words of each sentence.
        labels: The inventory.
        name: What the data is, for error messages.

    Returns:
        How often each label occurs that is not in the inventory.

    Raises:
        LtsftError: If no gold label at all is in the inventory.
    """
    counts = Counter(tag for sentence in tags for tag in sentence)
    known = set(labels)
    unknown = Counter({tag: count for tag, count in counts.items() if tag not in known})
    # `O` is in every inventory of entities, so alone it says nothing about a match.
    telling = counts.keys() - {"O"}
    if telling and not telling & known:
        raise LtsftError(
            f"{name} is expected to have some of the labels {', '.join(labels)}, but it has only "
            f"{', '.join(sorted(telling))}; check `labels`, which column they are taken from, and "
            "how they are renamed."
        )
    return unknown
