"""The right language's fine-tuning in place for each batch."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn
from typing_extensions import override

from ltsft.errors import LtsftError
from ltsft.sparse import Applied, SparseFineTuning


class LanguageSfts(Callback):
    """Swaps language fine-tunings on the one model in memory (Ansell et al., 2022, §3.2 and §4.4).

    Each batch says in ``batch["language"]`` which language it is in; that language's fine-tuning is
    added before the batch and taken off, bit for bit, when another language follows or the
    evaluation ends. Heads in language fine-tunings are left out, adapters
    take the place of what was in their slot. A language without an entry has no language
    fine-tuning in place.

    In training it is in place for the forward and the backward pass of each batch only, and is off
    before the optimizer steps: the gradient is that of θ⁰ + φ_task + φ_source, the step is one of
    φ_task. Selection, difference and L1 penalty thus speak of θ⁰ alone, whatever the source. (A
    task can also be trained over one source language through the task's ``base_sfts``, which stay
    in place; up to rounding that is the same.)

    Not supported in training: optimizers that call their closure more than once a step (LBFGS).

    Args:
        sfts: Language code of the data -> folder, file or ``user/repo[@revision]`` of a fine-tuning
            to add. In a zero-shot test that is the language's own. In Python it may be the
            :class:`~ltsft.sparse.SparseFineTuning` itself.
    """

    def __init__(self, sfts: dict[str, str] | None = None) -> None:
        self.sfts = dict(sfts or {})
        self._loaded: dict[str, SparseFineTuning] = {}
        self._applied: Applied | None = None
        self._language: str | None = None
        self._seen: set[str | None] = set()  # languages of batches, since the last pass

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # All are read before the first batch: a wrong path must not end a run half-way.
        self._loaded = {
            code: of if isinstance(of, SparseFineTuning) else SparseFineTuning.from_pretrained(of)
            for code, of in self.sfts.items()
        }
        self._check_base = stage != "fit"
        if stage == "fit":
            # Once, while the weights are those of the base; training changes them.
            for sft in self._loaded.values():
                sft.apply(_root(pl_module), whole=False).revert()
        list_languages = getattr(getattr(trainer, "datamodule", None), "languages", None)
        if not self.sfts or list_languages is None:
            return
        languages = list_languages(stage)
        for code, sft in self._loaded.items():
            if sft.metadata.head == "task":
                rank_zero_warn(
                    f"`languages.sfts` has for {code} a fine-tuning of the task "
                    f"{sft.metadata.task}, and not of a language ({self.sfts[code]})."
                )
            elif sft.metadata.language not in (None, code):
                rank_zero_warn(
                    f"`languages.sfts` has for {code} a fine-tuning of {sft.metadata.language} "
                    f"({self.sfts[code]})."
                )
        if not languages:
            return  # the loader says which data are missing
        if unknown := sorted(self.sfts.keys() - set(languages)):
            raise LtsftError(
                f"`languages.sfts` is expected to have languages of the data as keys "
                f"({', '.join(languages)}), but got {', '.join(unknown)}; where data are not given "
                "by language (`{hsb: file}`), names of files are taken for it."
            )
        if bare := [code for code in languages if code not in self.sfts]:
            rank_zero_info(f"No language fine-tuning in place for {', '.join(bare)}.")

    # ------------------------------------------------------------------ training

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._place(pl_module, batch)

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._remove()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._remove()  # a step without a backward pass

    # ------------------------------------------------------------------ evaluation

    @override
    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._place(pl_module, batch)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._remove()
        self._check_use()

    on_validation_epoch_end = on_test_end = on_predict_end = on_train_epoch_end = on_validation_end

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._remove()

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._applied is not None:  # something saves in the middle of a batch
            checkpoint["state_dict"] = self._applied.without(checkpoint["state_dict"])

    # ------------------------------------------------------------------ its steps

    def _place(self, pl_module: LightningModule, batch: Any) -> None:
        language = self._language_of(batch)
        self._seen.add(language)
        if language == self._language:
            return
        if language not in self._loaded:
            self._remove()
        elif self._applied is None:
            self._applied = self._loaded[language].apply(
                _root(pl_module), whole=False, check_base=self._check_base
            )
        else:
            self._applied = self._applied.switch(
                self._loaded[language], whole=False, check_base=self._check_base
            )
        self._language = language

    def _language_of(self, batch: Any) -> str | None:
        """What a batch says.

        Raises:
            LtsftError: If it says nothing, or is of several languages.
        """
        if not self._loaded:
            return None
        said = batch.get("language") if isinstance(batch, Mapping) else None
        codes = said if isinstance(said, list | tuple) else [said]
        if not all(isinstance(code, str) for code in codes) or len(set(codes)) != 1:
            raise LtsftError(
                '`batch["language"]` is expected to be the one language code of the batch, by '
                f"which `LanguageSfts` puts {', '.join(self._loaded)} in place, but got {said!r}; "
                "batch each language apart, and let the loader say which it is."
            )
        return str(codes[0])

    def _check_use(self) -> None:
        """Say so where no fine-tuning was for any of the languages there were."""
        if self._seen and self._loaded and not self._seen & self._loaded.keys():
            rank_zero_warn(
                f"`languages.sfts` has {', '.join(self._loaded)}, but batches are of "
                f"{', '.join(map(str, self._seen))}: no fine-tuning was put in place."
            )
        self._seen = set()

    def _remove(self) -> None:
        if self._applied is not None:
            self._applied.revert()
        self._applied = self._language = None


def _root(pl_module: LightningModule) -> nn.Module:
    root: nn.Module = getattr(pl_module, "sft_root", pl_module)
    return root
