"""Loading a model's tokenizer."""

import json
from typing import TYPE_CHECKING, Any

from ltsft.errors import LtsftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def load_tokenizer(name: str, max_length: int) -> "PreTrainedTokenizerFast":
    """Load a fast tokenizer and check what the data modules need of it.

    Args:
        name: Name of a model on the Hugging Face hub, or its folder.
        max_length: Sub-words per sequence, special tokens included, that will be asked of it.

    Raises:
        LtsftError: If there is none, it is a slow one, it has no padding token, or the model takes
            no sequences of that length.
    """
    if not name:
        raise LtsftError(
            "`data.init_args.tokenizer` is expected to name a model, but it is empty; the command "
            "line takes it from `model.init_args.base_model`."
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise LtsftError(
            "`data.init_args.tokenizer` is expected to be a model's folder or name on the hub, but "
            f"no tokenizer could be loaded from {name!r}: {reason}."
        ) from error
    if not tokenizer.is_fast:
        raise LtsftError(
            "`data.init_args.tokenizer` is expected to be a fast tokenizer (it says which "
            f"sub-words belong to which word), but {name!r} has only a {type(tokenizer).__name__}."
        )
    if tokenizer.pad_token_id is None:
        raise LtsftError(
            "`data.init_args.tokenizer` is expected to have a padding token, but "
            f"{name!r} has none; set `pad_token` in its tokenizer_config.json."
        )
    num_special = tokenizer.num_special_tokens_to_add()
    if not num_special < max_length <= tokenizer.model_max_length:
        raise LtsftError(
            f"`data.init_args.max_length` is expected to be above {num_special} (special tokens) "
            f"and at most {tokenizer.model_max_length} (the longest that {name!r} takes), but got "
            f"{max_length}."
        )
    _space_before_words(tokenizer)
    return tokenizer


def _space_before_words(tokenizer: Any) -> None:
    # Byte-level tokenizers (RoBERTa, ModernBERT) know a word's beginning by the space before it,
    # which is lost when words are given one by one.
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    steps = state["pre_tokenizer"] or {}
    changed = False
    for step in steps.get("pretokenizers", [steps]):
        if step.get("type") == "ByteLevel" and not step["add_prefix_space"]:
            step["add_prefix_space"] = changed = True
    if changed:
        tokenizer._tokenizer = type(backend).from_str(json.dumps(state))
