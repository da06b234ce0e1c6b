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
    add_prefix_space(tokenizer)
    return tokenizer


def add_prefix_space(tokenizer: Any) -> bool:
    """Have a byte-level tokenizer begin each text, and each word given alone, with a space.

    Byte-level tokenizers (RoBERTa, ModernBERT) know a word's beginning by the space before it,
    which is lost when words are given one by one. Where a text is split before bytes are made of it
    (Llama 3, EuroBERT), the option would put a space before each *piece* of a word, so it is left
    alone: see :func:`words_need_a_space`.

    The step that trims blanks off the characters a piece stands for is told of the space too: else
    the first piece of a text would begin one character late, as it does in RobBERT's released file.

    Returns:
        Whether the tokenizer was changed.
    """
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    before = json.dumps(state)
    steps = state["pre_tokenizer"] or {}
    first = steps.get("pretokenizers", [steps])[0]
    if first.get("type") != "ByteLevel":
        return False
    last = state["post_processor"] or {}
    for step in (first, *last.get("processors", [last])):
        if "add_prefix_space" in step:
            step["add_prefix_space"] = True
    if json.dumps(state) == before:
        return False
    tokenizer._tokenizer = type(backend).from_str(json.dumps(state))
    if "add_prefix_space" in tokenizer.init_kwargs:  # RoBERTa's class is built anew from it
        tokenizer.init_kwargs["add_prefix_space"] = tokenizer.add_prefix_space = True
    return True


def words_need_a_space(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Whether a space has to go before words that are given one by one.

    Found by trying: words get the pieces that they have in running text, as they are or with a
    space before them. The latter holds where text is split by an expression before the byte level
    (Llama 3, EuroBERT), and where a normaliser makes "▁" of blanks (Gemma, mmBERT).

    Args:
        tokenizer: A fast tokenizer.
    """

    def ids(text: str | list[str]) -> list[int]:
        as_words = isinstance(text, list)
        encoded = tokenizer(text, is_split_into_words=as_words, add_special_tokens=False)
        pieces: list[int] = encoded["input_ids"]
        return pieces

    words = ["a", "the", "2", "x"]
    if ids(words) in (ids(" ".join(words)), ids(" " + " ".join(words))):
        return False
    return ids([f" {word}" for word in words]) == ids(" " + " ".join(words))
