"""A family of artificial languages."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ltsft.data.artificial.grammar import Grammar, WordOrder
from ltsft.data.artificial.language import Language
from ltsft.data.artificial.lexicon import draw_lexicons
from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORD_ORDERS: dict[str, WordOrder] = {
    "alora": WordOrder("SVO", adjective_first=True, prepositions=True, marks_object=False),
    "besku": WordOrder("SOV", adjective_first=True, prepositions=False, marks_object=True),
    "cimvar": WordOrder("VSO", adjective_first=False, prepositions=True, marks_object=True),
    "dorin": WordOrder("SVO", adjective_first=False, prepositions=True, marks_object=True),
    "elmu": WordOrder("SVO", adjective_first=True, prepositions=True, marks_object=True),
    "fanto": WordOrder("SOV", adjective_first=True, prepositions=False, marks_object=True),
    "gurib": WordOrder("SVO", adjective_first=False, prepositions=True, marks_object=False),
    "hadel": WordOrder("VSO", adjective_first=False, prepositions=True, marks_object=True),
}
"""The languages. Their word orders are fixed; words and endings depend on the family's seed.
The first four show every order, which makes them good ones to pretrain on."""


class Family(Mapping[str, Language]):
    """Artificial languages with a common grammar, by name.

    Args:
        seed: what words, endings and all sentences are drawn from.
        languages: the languages.
    """

    def __init__(self, seed: int, languages: Mapping[str, Language]) -> None:
        self.seed = seed
        self._languages = dict(languages)

    def __getitem__(self, name: str) -> Language:
        """The language of that name.

        Raises:
            LtsftError: if there is none.
        """
        if name not in self._languages:
            raise LtsftError(
                f"an artificial language is expected to be one of "
                f"{', '.join(self)}, but got {name!r}."
            )
        return self._languages[name]

    def __contains__(self, name: object) -> bool:
        return name in self._languages

    def __iter__(self) -> Iterator[str]:
        return iter(self._languages)

    def __len__(self) -> int:
        return len(self._languages)

    def __repr__(self) -> str:
        return f"Family(seed={self.seed}, languages={list(self)})"

    def tokenizer(
        self, vocab_size: int = 1000, num_sentences: int = 1000
    ) -> "PreTrainedTokenizerFast":
        """See `make_tokenizer`."""
        from ltsft.data.artificial.tokenizer import make_tokenizer

        return make_tokenizer(self, vocab_size, num_sentences)


def family(
    seed: int = 0,
    *,
    cognates: float | Mapping[str, float] = 0.5,
    shared_endings: float | Mapping[str, float] = 0.7,
) -> Family:
    """Make a family of artificial languages.

    Args:
        seed: another seed gives other words, endings and sentences.
        cognates: share of stems that a language has from the family's proto-language, in [0, 1];
            for all languages, or by name. Two languages have about the product of their shares in
            common.
        shared_endings: likewise for endings.

    Returns:
        The languages of `WORD_ORDERS`.

    Raises:
        LtsftError: if a share is outside [0, 1] or a language is missing from a mapping.

    Example:
        >>> languages = family(seed=0)
        >>> sorted(languages)
        ['alora', 'besku', 'cimvar', 'dorin', 'elmu', 'fanto', 'gurib', 'hadel']
    """
    lexicons = draw_lexicons(
        seed, _by_language("cognates", cognates), _by_language("shared_endings", shared_endings)
    )
    return Family(
        seed,
        {
            name: Language(name, Grammar(lexicons[name], order), seed)
            for name, order in WORD_ORDERS.items()
        },
    )


def _by_language(name: str, shares: float | Mapping[str, float]) -> dict[str, float]:
    if not isinstance(shares, Mapping):
        return dict.fromkeys(WORD_ORDERS, float(shares))
    if set(shares) != set(WORD_ORDERS):
        raise LtsftError(
            f"`{name}` is expected to be one share, or one for each of {', '.join(WORD_ORDERS)}, "
            f"but got {', '.join(shares)}"
        )
    return {language: float(shares[language]) for language in WORD_ORDERS}
