"""From a question and its text to windows of sub-words, and where in them a span is."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ltsft.batch import NOWHERE
from ltsft.data.encoding.digest import digest
from ltsft.data.encoding.ragged import Ragged
from ltsft.data.encoding.tokenization import Columns, cached_columns, encode, tokenizer_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tokenize_windows(
    questions: Sequence[str],
    contexts: Sequence[str],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    stride: int,
    max_question_length: int,
    progress: bool = True,
) -> Columns:
    """Tokenise questions, each with the text it is about; what was done before is in the cache.

    A text that is too long is cut into windows that overlap, each with the whole question.

    Args:
        questions: Questions.
        contexts: The text of each.
        tokenizer: A fast tokenizer.
        max_length: Sub-words of a window, question and special tokens included.
        stride: Sub-words of the text that a window shares with the next one.
        max_question_length: Sub-words of a question to keep, the first ones.
        progress: Show a bar if it takes long.

    Returns:
        For each window of T sub-words, those of a question one after the other: `input_ids` [T];
        `token_type_ids` [T] if the tokenizer has such; `char_starts` and `char_ends` [T], the
        characters of the text that a sub-word stands for, -1 for special tokens and the question;
        `questions` [1], the number of the question.
    """

    def make() -> Columns:
        rows: dict[str, list[list[int]]] = {}
        short = shorten(questions, tokenizer, max_question_length)
        for first, encoded in encode(
            short,
            tokenizer,
            progress,
            pairs=contexts,
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        ):
            for name in {"input_ids", "token_type_ids"} & encoded.keys():
                rows.setdefault(name, []).extend(encoded[name])
            for window, question in enumerate(encoded["overflow_to_sample_mapping"]):
                spans = [
                    span if part == 1 else (NOWHERE, NOWHERE)
                    for part, span in zip(
                        encoded.sequence_ids(window),
                        encoded["offset_mapping"][window],
                        strict=True,
                    )
                ]
                rows.setdefault("char_starts", []).append([start for start, _ in spans])
                rows.setdefault("char_ends", []).append([end for _, end in spans])
                rows.setdefault("questions", []).append([first + question])
        return {name: Ragged.of(values) for name, values in sorted(rows.items())}

    texts = digest(text for pair in zip(questions, contexts, strict=True) for text in pair)
    settings = [tokenizer_digest(tokenizer), str(tokenizer.model_input_names)]
    settings += [str(number) for number in (max_length, stride, max_question_length)]
    return cached_columns(["windows", texts, *settings], make)


def shorten(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> list[str]:
    """Cut off the end of texts that have more sub-words than so many, special tokens aside.

    Args:
        texts: Texts.
        tokenizer: A fast tokenizer.
        max_length: Sub-words to keep.
    """
    short = list(texts)
    todo = list(range(len(short)))
    # What is left of a text may be cut into other, and more, sub-words than before.
    while todo:
        encoded = tokenizer(
            [short[number] for number in todo],
            add_special_tokens=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        too_long = []
        for number, spans in zip(todo, encoded["offset_mapping"], strict=True):
            if len(spans) > max_length:
                # By at least one character a time, so this ends.
                end = min(spans[max_length - 1][1], len(short[number]) - 1)
                short[number] = short[number][:end]
                too_long.append(number)
        todo = too_long
    return short


def locate(start: int, end: int, char_starts: Tensor, char_ends: Tensor) -> tuple[int, int]:
    """First and last sub-word of a span of the text in a window.

    Args:
        start: The span's first character.
        end: The character after its last one.
        char_starts: Of one window [T], -1 where it is not the text's.
        char_ends: Likewise.

    Returns:
        Their positions; 0 and 0, the first special token, if the window does not hold the whole
        span (Devlin et al., 2019, §4.3).
    """
    starts, ends = char_starts.tolist(), char_ends.tolist()
    inside = [position for position, end_here in enumerate(ends) if end_here != NOWHERE]
    if not inside:
        return 0, 0
    first, after = inside[0], inside[-1] + 1
    if start < starts[first] or end > ends[after - 1]:
        return 0, 0
    # Sub-words may begin with the blank before a word, so a span may begin within one; and several
    # may stand for one character, of which each is a byte.
    start = starts[bisect_right(starts, start, first, after) - 1]
    end = ends[bisect_left(ends, end, first, after)]
    return bisect_left(starts, start, first, after), bisect_right(ends, end, first, after) - 1
