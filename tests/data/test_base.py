"""DataModule: under Lightning, resumed is the same as never stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn

from ltsft.data.base import DataModule
from ltsft.data.serving.examples import Examples
from ltsft.data.serving.loading import EvaluationLoader, TrainingLoader
from ltsft.errors import LtsftError


def collate(items: list[tuple[int, int]]) -> dict[str, Any]:
    return {"examples": torch.tensor([example for example, _ in items]), "language": "xx"}


class Numbers(DataModule):
    """Numbers 0 to 21, four per step."""

    def __init__(self, num_workers: int = 0) -> None:
        super().__init__(global_batch_size=4, eval_batch_size=3, num_workers=num_workers, seed=0)

    def train_dataloader(self) -> TrainingLoader:
        return self.make_training_loader(Examples(range(22)), collate, [22])

    def val_dataloader(self) -> list[EvaluationLoader]:
        return [self.make_evaluation_loader(Examples(range(7)), collate)]

    predict_dataloader = val_dataloader


class Recorder(LightningModule):
    """Records the examples of each batch; may ask for the number of steps as schedules do."""

    def __init__(self, asks_early: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.asks_early = asks_early
        self.seen: list[list[int]] = []

    def training_step(self, batch: dict[str, Any]) -> Tensor:
        self.seen.append(batch["examples"].tolist())
        loss: Tensor = self.layer(torch.rand(4 // self.trainer.accumulate_grad_batches, 1)).mean()
        return loss

    def validation_step(self, batch: dict[str, Any]) -> None:
        assert batch["language"] == "xx"

    def predict_step(self, batch: dict[str, Any]) -> list[int]:
        return batch["examples"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.asks_early:
            assert self.trainer.estimated_stepping_batches == 18
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Phases(Callback):
    """Tells the loader its pass as a callback of two phases does: epoch 0 dense, then sparse.

    Also at the start, since Lightning omits `on_train_epoch_start` after some resumes.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        assert trainer.train_dataloader is not None
        trainer.train_dataloader.set_pass("sparse" if epoch else "dense", max(0, epoch - 1))


def fit(folder: Path, module: Recorder, data: DataModule, phases: bool, **options: Any) -> None:
    saving = ModelCheckpoint(folder, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[saving, Phases()] if phases else [saving],
        default_root_dir=folder,
    )
    trainer.fit(module, data, weights_only=True, **options)


@pytest.mark.filterwarnings("ignore:.*does not have many workers|.*Checkpoint directory")
@pytest.mark.parametrize("asks_early", [False, True])
@pytest.mark.parametrize("phases", [False, True])
def test_lightning_resumes_everywhere(tmp_path: Path, asks_early: bool, phases: bool) -> None:
    """From a checkpoint after any step (in mid-pass, at its end) the same batches follow.

    Also where the module asks for the number of steps in `configure_optimizers`, after which
    Lightning restores no loader; and where a callback names the passes.
    """
    whole = Recorder(asks_early)
    fit(tmp_path / "whole", whole, Numbers(), phases)
    assert len(whole.seen) == 18
    passes = [whole.seen[start : start + 6] for start in (0, 6, 12)]
    assert len({str(batches) for batches in passes}) == 3
    for step in (1, 5, 6, 7, 12, 17):
        resumed = Recorder(asks_early)
        checkpoint = tmp_path / f"whole/step={step}.ckpt"
        fit(tmp_path / "resumed", resumed, Numbers(), phases, ckpt_path=checkpoint)
        assert resumed.seen == whole.seen[step:], f"resumed after step {step}"


def test_lightning_accumulates_the_same_batches() -> None:
    """Two accumulated micro-batches of a step are the one batch of a step without."""
    seen = []
    for accumulate in (1, 2):
        module = Recorder()
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            accumulate_grad_batches=accumulate,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(module, Numbers())
        assert trainer.global_step == 6
        seen.append([example for batch in module.seen for example in batch])
    assert seen[0] == seen[1]


def test_lightning_leaves_prediction_loaders_alone() -> None:
    """Lightning rebuilds DataLoaders when predicting; ours keeps its order."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    predictions = trainer.predict(Recorder(), Numbers())
    assert predictions == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(
    ("name", "value"), [("global_batch_size", 0), ("eval_batch_size", 0), ("num_workers", -1)]
)
def test_numbers_out_of_range(name: str, value: int) -> None:
    options = {"global_batch_size": 4, "eval_batch_size": 3, "num_workers": 0, "seed": 0}
    with pytest.raises(LtsftError, match=rf"`data.init_args.{name}` .* got {value}"):
        DataModule(**options | {name: value})
