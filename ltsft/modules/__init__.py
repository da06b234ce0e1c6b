"""Neural modules that know nothing of tasks or data."""

from ltsft.modules.biaffine import Biaffine, BiaffineHead, EncodedWords, ParserLoss
from ltsft.modules.biaffine_parser import BiaffineParser
from ltsft.modules.pooling import pool_words
from ltsft.modules.tying import untie_output_embeddings

__all__ = [
    "Biaffine",
    "BiaffineHead",
    "BiaffineParser",
    "EncodedWords",
    "ParserLoss",
    "pool_words",
    "untie_output_embeddings",
]
