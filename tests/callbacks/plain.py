"""Modules as a user would write them, knowing nothing of phases or masks."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ltsft.callbacks import Phase, SparseMaskCallback
from ltsft.sparse import Budget


class Plain(lightning.LightningModule):
    """One hidden layer, dropout, a normalisation with buffers; AdamW with a linear schedule."""

    def __init__(self, dropout: float = 0.0, batch_norm: bool = False, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        layers = [nn.Linear(6, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)]
        if batch_norm:
            layers.insert(1, nn.BatchNorm1d(8))
        self.layers = nn.Sequential(*layers)
        self.losses: list[float] = []

    def loss(self, batch):
        return nn.functional.mse_loss(self.layers(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch), batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def data(num=40, batch_size=4, shuffle=False, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(num, n, generator=generator, dtype=dtype) for n in (6, 3))
    return DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=shuffle)


def loader_of(batches):
    """A loader that hands out these very batches."""
    return DataLoader(list(batches), batch_size=None, collate_fn=lambda batch: batch)


def callback(num_params=10, dense=None, sparse=None, **settings):
    return SparseMaskCallback(
        Budget(num_params=num_params),
        dense=dense or Phase(max_steps=12),
        sparse=sparse or Phase(max_steps=15),
        **settings,
    )


def trainer(*callbacks, **settings):
    defaults = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "max_epochs": -1,
    }
    return lightning.Trainer(callbacks=list(callbacks), **(defaults | settings))


def values(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}
