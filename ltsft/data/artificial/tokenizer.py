"""A tokenizer for the languages of a family."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from ltsft.data.artificial.language import Language

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""As in BERT; padding has the id 0."""


def make_tokenizer(
    family: "Mapping[str, Language]", vocab_size: int = 1000, num_sentences: int = 1000
) -> "PreTrainedTokenizerFast":
    """Make one WordPiece tokenizer from the text of all languages of a family.

    Its pieces are the single letters, so that nothing is unknown, and the most frequent stems
    and endings of the text. Merging frequent pairs of letters, the usual way, would glue
    frequent stems to their endings and cut rare ones anywhere, in other ways in each language; with
    so little text that hides what the languages have in common.

    Args:
        family: the languages, by name.
        vocab_size: largest number of pieces; a family has about 900 in all.
        num_sentences: how many training sentences of each language are counted.

    Returns:
        A tokenizer whose sequences look like BERT's: ``[CLS] … [SEP]`` (``… [SEP]`` for pairs).

    Raises:
        LtsftError: if the special tokens and letters alone are more than `vocab_size`.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words: Counter[str] = Counter()
    for name in family:
        for line in family[name].text(num_sentences, "train"):
            words.update(line.split())
    letters = sorted({letter for word in words for letter in word})
    pieces = [*SPECIAL_TOKENS.values(), *letters, *(f"##{letter}" for letter in letters)]
    if len(pieces) > vocab_size:
        raise LtsftError(
            f"`vocab_size` is expected to be at least {len(pieces)} (special tokens and "
            f"letters), but got {vocab_size}"
        )
    stems = {s for name in family for c in family[name].grammar.lexicon.stems.values() for s in c}
    counts: Counter[str] = Counter()
    for word, count in words.items():
        stem = next((word[:n] for n in range(1, len(word) + 1) if word[:n] in stems), word)
        rest = word[len(stem) :]
        for piece in (stem, *(f"##{rest[i : i + 2]}" for i in range(0, len(rest), 2))):
            counts[piece] += count
    frequent = sorted(counts.keys() - set(pieces), key=lambda piece: (-counts[piece], piece))
    pieces += frequent[: vocab_size - len(pieces)]

    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(token, vocabulary[token]) for token in (cls, sep)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **SPECIAL_TOKENS,
    )
