"""Reading, tokenising and serving data: one LightningDataModule per task.

On the way of an example there are three rooms, which know nothing of each other's concerns:

- :mod:`formats`: a file ↔ sentences. It knows line numbers, but no tokenizer and no task.
- :mod:`encoding`: text → ids. It knows tokenizers, but no labels, and not what text was read from.
- :mod:`serving`: ids → batches, in which order, also after a resume. It knows no files.

Around them, in the order to read: :mod:`source` (where data come from), :mod:`table`,
:mod:`reading` (from a source to examples), :mod:`tagged`, :mod:`parsed`, :mod:`pairs`,
:mod:`questions` and :mod:`text` (examples of each kind), :mod:`labels`, :mod:`base` and
:mod:`labelled_data` (what data modules share), :mod:`text_data`, :mod:`tagging_data`,
:mod:`parsing_data`, :mod:`pair_data` and :mod:`question_data` (all of it together).
:mod:`artificial` is the built-in data. What a batch holds stands in :mod:`ltsft.batch`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltsft.data.pair_data import PairData as PairData
    from ltsft.data.parsing_data import ParsingData as ParsingData
    from ltsft.data.question_data import QuestionData as QuestionData
    from ltsft.data.source import Source as Source
    from ltsft.data.source import Sources as Sources
    from ltsft.data.tagging_data import TaggingData as TaggingData
    from ltsft.data.text_data import TextData as TextData

_HOME = {
    "PairData": "ltsft.data.pair_data",
    "QuestionData": "ltsft.data.question_data",
    "ParsingData": "ltsft.data.parsing_data",
    "Source": "ltsft.data.source",
    "Sources": "ltsft.data.source",
    "TaggingData": "ltsft.data.tagging_data",
    "TextData": "ltsft.data.text_data",
}

__all__ = [
    "PairData",
    "ParsingData",
    "QuestionData",
    "Source",
    "Sources",
    "TaggingData",
    "TextData",
]


def __getattr__(name: str) -> Any:
    # On demand, because `ltsft.data.artificial` needs neither Lightning nor transformers, whose
    # import takes seconds.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
