"""The right language's fine-tuning in place for each batch of an evaluation."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

from ltsft.errors import LtsftError
from ltsft.sparse import Applied, SparseFineTuning


class LanguageSfts(Callback):
    """Swaps language fine-tunings on the one model in memory (Ansell et al., 2022, §3.2).

    In ``validate``, ``test`` and ``predict`` each batch says in ``batch["source"]`` which language
    it is in; that language's fine-tuning is added before the batch and taken off, bit for bit, when
    another language follows or the evaluation ends. Heads in language fine-tunings are left out. A
    language without an entry is evaluated without a language fine-tuning.

    During ``fit`` the callback does nothing: a task is trained on top of its source language
    through the task's ``base_sfts``.

    Args:
        sfts: Language code of the data -> folder, file or ``user/repo[@revision]`` of a fine-tuning
            to add. In a zero-shot test that is the language's own.
    """

    def __init__(self, sfts: dict[str, str] | None = None) -> None:
        self.sfts = dict(sfts or {})
        self._loaded: dict[str, SparseFineTuning] = {}
        self._applied: Applied | None = None
        self._language: str | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            return
        # All are read before the first batch: a wrong path must not end a run half-way.
        self._loaded = {code: SparseFineTuning.from_pretrained(p) for code, p in self.sfts.items()}
        list_languages = getattr(getattr(trainer, "datamodule", None), "evaluation_languages", None)
        if not self.sfts or list_languages is None:
            return
        languages = list_languages(stage)
        if unknown := sorted(self.sfts.keys() - set(languages)):
            raise LtsftError(
                f"`languages.sfts` is expected to have languages of the data as keys "
                f"({', '.join(languages)}), but got {', '.join(unknown)}."
            )
        if bare := [code for code in languages if code not in self.sfts]:
            rank_zero_info(f"No language fine-tuning in place for {', '.join(bare)}.")

    def _place(self, pl_module: LightningModule, batch: Any) -> None:
        language = batch.get("source") if isinstance(batch, Mapping) else None
        if language == self._language:
            return
        self._remove()
        if language in self._loaded:
            model = getattr(pl_module, "sft_root", pl_module)
            self._applied = self._loaded[language].apply(model, whole=False)
        self._language = language

    def _remove(self) -> None:
        if self._applied is not None:
            self._applied.revert()
        self._applied = self._language = None

    @override
    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            self._place(pl_module, batch)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._remove()

    on_test_end = on_predict_end = on_validation_end

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._remove()
