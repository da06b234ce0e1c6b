"""Raw text of one language for masked language modelling."""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from ltsft.data.base import DataModule
from ltsft.data.encoding.blocks import cut_blocks
from ltsft.data.encoding.cache import cached
from ltsft.data.encoding.tokenization import tokenizer_digest
from ltsft.data.encoding.tokenizer import load_tokenizer
from ltsft.data.serving.examples import Examples
from ltsft.data.serving.loading import EvaluationLoader, TrainingLoader
from ltsft.data.serving.masking import MaskingCollator
from ltsft.data.source import Source, Sources, by_language, names_languages
from ltsft.data.text import corpus_key, read_text
from ltsft.errors import LtsftError
from ltsft.files import STDIN, check_language

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TextData(DataModule):
    """Raw text of one language, in blocks of equal length, for masked language modelling.

    The corpus is tokenised, concatenated, and cut into blocks (Ansell et al., 2022, use 256 tokens,
    and hold out 5% for languages with little text, 1% for those with much). An epoch is one pass
    over the blocks. Of the tokens in a training block, others are masked in each pass and phase;
    evaluation masks never change, so that losses compare.

    Batches: `input_ids`, `attention_mask`, `labels` (-100 where not scored) [B, T];
    `language`.

    Args:
        tokenizer: Model whose tokenizer to use: a folder, or a name on the hub. The command line
            takes it from `model.base_model`.
        language: Language code; by default what the name of the file, or built-in language, of
            `text` tells.
        text: The corpus: a file with a sentence or paragraph per line, ``artificial:<language>``,
            a `datasets` table with a column `text`, or a list of these; or the language code → one
            or several of them.
        validation: Another corpus to validate on. By default a share of `text` is held out.
        test: Another corpus to test on, for which `text` need not be given. By default a test
            scores what validation does, and says so: by that the best weights were chosen.
        held_out: Share of the blocks to hold out, the first ones, at least one; 0 for no
            validation. Not used if there is a `validation` corpus.
        max_length: Tokens per block, special tokens included.
        mask_probability: Share of the tokens to predict.
        global_batch_size: Blocks per optimizer step, over all processes and accumulated batches.
        eval_batch_size: Blocks per batch and process when evaluating.
        num_workers: Processes that fetch batches ahead; 0 fetches in the main process.
        seed: Seed of the order of training blocks and of masking.

    Raises:
        LtsftError: If a number is out of range, or `text` is missing.
    """

    def __init__(
        self,
        tokenizer: str = "",
        language: str = "",
        text: Sources = "",
        validation: Sources | None = None,
        test: Sources | None = None,
        held_out: float = 0.05,
        max_length: int = 256,
        mask_probability: float = 0.15,
        global_batch_size: int = 8,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            global_batch_size=global_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not text and not test:
            raise _no_text()
        if not 0 <= held_out < 1:
            raise LtsftError(
                "`data.init_args.held_out` is expected to be 0 or more and below 1 (a share of the "
                f"blocks), but got {held_out}."
            )
        if not 0 < mask_probability <= 1:
            raise LtsftError(
                "`data.init_args.mask_probability` is expected to be above 0 and at most 1, but "
                f"got {mask_probability}."
            )
        corpora = {"text": text, "validation": validation, "test": test}
        if language:
            check_language(language, "data.init_args.language")
        self.language = language
        self._parts: dict[str, list[Source]] = {}
        for option, sources in corpora.items():
            if sources:
                self.language, self._parts[option] = _of_one_language(
                    sources, self.language, f"data.init_args.{option}"
                )
        self.tokenizer_name = tokenizer
        self.held_out = held_out
        self.max_length = max_length
        self.mask_probability = mask_probability
        self._blocks: dict[str, Tensor] = {}
        self._collator: MaskingCollator | None = None
        self._num_tokens: int | None = None

    @override
    def evaluation_languages(self, stage: str) -> list[str]:
        is_given = "validation" in self._parts or (stage == "test" and "test" in self._parts)
        is_held_out = "text" in self._parts and self.held_out > 0
        return [self.language] if is_given or is_held_out else []

    @override
    def describe(self, stage: str) -> str:
        self._ready("train")
        sizes = ", ".join(f"{role} {len(blocks):,}" for role, blocks in self._blocks.items())
        return f"{self.language}, blocks of {self.max_length} tokens: {sizes}"

    @property
    @override
    def training_languages(self) -> list[str]:
        return [self.language]

    @property
    @override
    def num_tokens(self) -> int | None:
        return self._num_tokens

    @override
    def setup(self, stage: str | None = None) -> None:
        if self._blocks:
            return
        tokenizer = load_tokenizer(self.tokenizer_name, self.max_length)
        self._num_tokens = len(tokenizer)
        if tokenizer.mask_token_id is None:
            raise LtsftError(
                "`data.init_args.tokenizer` is expected to have a mask token, but "
                f"{self.tokenizer_name!r} has none; masked language modelling needs a model that "
                "was pretrained by it."
            )
        holds_out = "validation" not in self._parts and self.held_out > 0
        of_roles: dict[str, Tensor] = {}
        for option, parts in self._parts.items():
            role = "train" if option == "text" else option
            min_blocks = 1 + holds_out if role == "train" else 1
            of_roles[role], is_text = self._cut(tokenizer, parts, role, min_blocks)
        if holds_out and (blocks := of_roles.get("train")) is not None:
            count = max(1, min(round(self.held_out * len(blocks)), len(blocks) - 1))
            held, blocks = blocks.split([count, len(blocks) - count])
            of_roles |= {"train": blocks, "validation": held}
        self._blocks = of_roles
        special = set(tokenizer.all_special_ids)
        self._collator = MaskingCollator(
            language=self.language,
            is_text=is_text,
            probability=self.mask_probability,
            mask_token_id=tokenizer.mask_token_id,
            random_ids=torch.tensor([id for id in range(len(tokenizer)) if id not in special]),
        )

    @override
    def train_dataloader(self) -> TrainingLoader:
        if "text" not in self._parts:
            raise _no_text()
        examples, collator = self._ready("train")
        return self.make_training_loader(examples, collator, [len(examples)])

    @override
    def val_dataloader(self) -> list[EvaluationLoader]:
        examples, collator = self._ready("validation")
        return [self.make_evaluation_loader(examples, collator)] if len(examples) else []

    @override
    def test_dataloader(self) -> list[EvaluationLoader]:
        if "test" in self._parts:
            return [self.make_evaluation_loader(*self._ready("test"))]
        loaders = self.val_dataloader()
        if not loaders:
            raise LtsftError(
                "`data.init_args.test` is expected to name a corpus where nothing is held out for "
                "validation, but got nothing; give one."
            )
        rank_zero_warn(
            "Scored is what validation scored, by which the best weights were chosen; give another "
            "corpus in `data.init_args.test`."
        )
        return loaders

    def _ready(self, role: str) -> tuple[Examples, MaskingCollator]:
        self.setup()
        assert self._collator is not None
        blocks = self._blocks.get(role, torch.empty(0, self.max_length, dtype=torch.int64))
        return Examples(blocks), self._collator  # type: ignore[arg-type]

    def _cut(
        self, tokenizer: "PreTrainedTokenizerFast", parts: list[Source], role: str, min_blocks: int
    ) -> tuple[Tensor, Tensor]:
        def cut() -> dict[str, Tensor]:
            blocks, is_text = cut_blocks(
                chain.from_iterable(read_text(source, role) for source in parts),
                tokenizer,
                self.max_length,
                option=parts[0].option,
                min_blocks=min_blocks,
                progress=self.is_first_rank,
            )
            return {"blocks": blocks, "is_text": is_text}

        corpus = [key for source in parts for key in corpus_key(source, role)]
        # The number needed too: a result from the cache is not counted again.
        settings = [tokenizer_digest(tokenizer), str(self.max_length), str(min_blocks)]
        result = cached(["blocks", *corpus, *settings], cut)
        return result["blocks"], result["is_text"]


def _no_text() -> LtsftError:
    return LtsftError(
        "`data.init_args.text` is expected to name a corpus, but it is empty; give a text file, "
        "`artificial:<language>`, or a name for `datasets`."
    )


def _of_one_language(sources: Sources, language: str, option: str) -> tuple[str, list[Source]]:
    """The language of a corpus and its parts.

    Raises:
        LtsftError: If there are several languages.
    """
    found = by_language(sources, option)
    parts = [source for parts in found.values() for source in parts]
    for source in parts:
        if texts := sorted(Path(source.path).glob("*.txt")):
            raise LtsftError(
                f"`{option}` is expected to be files, one after the other if it is a list, but "
                f"{source.path} is a folder with {len(texts)} texts; name those of the language "
                f"(`[{texts[0]}]`)."
            )
    if any(source.path == STDIN for source in parts):
        raise LtsftError(f"`{option}` is expected to be in files, but got {STDIN!r}, a pipe.")
    if names_languages(sources) and language and list(found) != [language]:
        raise LtsftError(
            f"`{option}` is expected to be of the language {language}, as `data.init_args.language`"
            f" or `text` says, but is of {', '.join(found)}."
        )
    if not language and len(found) > 1:
        raise LtsftError(
            f"`{option}` is expected to be of one language, for which a fine-tuning is made, but "
            f"is of {', '.join(found)}; give one, or say which it is (`data.init_args.language`)."
        )
    return language or next(iter(found)), parts
