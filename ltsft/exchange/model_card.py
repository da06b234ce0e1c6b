"""The README.md of a composed checkpoint: what it is made of, and how it wants its words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ltsft.data.encoding.tokenizer import words_need_a_space
from ltsft.sparse import SparseFineTuning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPACE_BEFORE_EACH = """
Words that are given one by one need a space before each, which no setting of this tokenizer adds:

```python
tokenizer([f" {word}" for word in words], is_split_into_words=True)
```
"""


def model_card(
    base: str,
    sfts: Mapping[str, SparseFineTuning],
    method: str,
    weights: Sequence[float],
    tokenizer: "PreTrainedTokenizerFast",
) -> str:
    """Describe a checkpoint.

    Args:
        base: The pretrained model; of a folder only the last name is told.
        sfts: The fine-tunings in it by name, likewise.
        method: How they were composed.
        weights: A factor for each.
        tokenizer: The one it is saved with.
    """
    rows = [
        f"| {_name(name)} | {sft.metadata.task or ''} | {sft.metadata.language or ''} | "
        f"{sft.num_params:,} | {weight:g} |"
        for (name, sft), weight in zip(sfts.items(), weights, strict=True)
    ]
    hint = _SPACE_BEFORE_EACH if words_need_a_space(tokenizer) else ""
    return "\n".join(
        [
            "---",
            f"base_model: {_name(base)}",
            "library_name: transformers",
            "---",
            "",
            f"`{_name(base)}` with sparse fine-tunings in it (composed by `{method}`), as a plain",
            "checkpoint of transformers.",
            "",
            "| fine-tuning | task | language | entries | factor |",
            "|---|---|---|---|---|",
            *rows,
            hint,
        ]
    )


def _name(path: str) -> str:
    return Path(path).resolve().name if Path(path).exists() else path
