"""Training on several source languages, each batch under its own language's difference.

Judged by a hand-written loop that knows nothing of callbacks: it keeps θ⁰ + δ, adds φ of the
batch's language before the forward pass, and puts θ⁰ + δ back before the optimizer steps.
"""

from itertools import cycle, islice

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ltsft.callbacks import LanguageSfts, Phase, SparseMaskCallback
from ltsft.errors import LtsftError
from ltsft.sparse import Budget, SparseDelta, SparseFineTuning
from ltsft.sparse.ledger import base_digests
from tests.callbacks.plain import trainer, values

NAMES = ("0.weight", "2.weight")
LANGUAGES = ("aa", "bb", "cc")
STEPS = 9


class Net(lightning.LightningModule):
    """Two layers, float64, no dropout; each batch is a dict with its language."""

    monitor, monitor_mode = "val_loss", "min"

    def __init__(self, rate=0.05, decay=0.1):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        self.rate, self.decay = rate, decay
        self.losses = []

    @property
    def sft_root(self):
        return self.layers

    def loss(self, batch):
        return nn.functional.mse_loss(self.layers(batch["x"]), batch["y"])

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", self.loss(batch), batch_size=4)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=self.decay)


def differences():
    """A difference per language, with entries in common with each other and with any task."""
    net = Net().layers
    generator = torch.Generator().manual_seed(1)
    made = {}
    for code in LANGUAGES[:2]:  # the third has none
        entries = {}
        for name in NAMES:
            shape = tuple(net.get_parameter(name).shape)
            size = torch.Size(shape).numel()
            indices = torch.randperm(size, generator=generator)[: size // 2].sort().values
            change = torch.randn(len(indices), generator=generator, dtype=torch.float64)
            entries[name] = SparseDelta(shape, indices, change)
        made[code] = SparseFineTuning(entries)
    return made


@pytest.fixture
def paths(tmp_path):
    for code, sft in differences().items():
        sft.save_pretrained(tmp_path / code)
    return {code: str(tmp_path / code) for code in LANGUAGES[:2]}


def batches(num=STEPS * 2):
    generator = torch.Generator().manual_seed(2)
    return [
        {
            "x": torch.randn(4, 6, generator=generator, dtype=torch.float64),
            "y": torch.randn(4, 3, generator=generator, dtype=torch.float64),
            "language": code,
        }
        for code in islice(cycle(LANGUAGES), num)
    ]


def loader(items):
    return DataLoader(items, batch_size=None, collate_fn=lambda batch: batch)


def by_hand(items, accumulate=1, rate=0.05):
    """Train without a callback; returns losses and weights."""
    net, sfts = Net(rate), differences()
    optimizer = net.configure_optimizers()
    losses = []
    for number, batch in enumerate(items, start=1):
        own = values(net.layers)
        with torch.no_grad():
            for name, delta in (
                sfts[batch["language"]].entries.items() if batch["language"] in sfts else ()
            ):
                net.layers.get_parameter(name).add_(delta.dense())
        loss = net.loss(batch)
        losses.append(loss.item())
        (loss / accumulate).backward()
        with torch.no_grad():
            for name, value in own.items():
                net.layers.get_parameter(name).copy_(value)
        if number % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    return losses, values(net.layers)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_training_equals_a_loop_by_hand(paths, accumulate):
    """Bit for bit, also with micro-batches of several languages in one step."""
    net, items = Net(), batches(STEPS)
    run = trainer(LanguageSfts(paths), max_epochs=1, accumulate_grad_batches=accumulate)
    run.fit(net, loader(items))
    losses, weights = by_hand(items, accumulate)
    assert net.losses == losses
    for name, value in values(net.layers).items():
        assert torch.equal(value, weights[name]), name


def test_selection_and_difference_speak_of_the_shared_start(paths):
    """φ_task = θ² − θ⁰: what is not selected is θ⁰ to the bit, whatever the sources moved."""
    net = Net()
    start = values(net.layers)
    sparse = SparseMaskCallback(
        Budget(num_params=9), dense=Phase(max_steps=STEPS, l1=0.1), sparse=Phase(max_steps=STEPS)
    )
    run = trainer(LanguageSfts(paths), sparse, val_check_interval=3, check_val_every_n_epoch=None)
    run.fit(net, loader(batches(STEPS)), loader(batches(3)))
    assert sparse.sft.num_params == 9
    for name, value in values(net.layers).items():
        delta = sparse.sft.entries.get(name)
        expected = start[name].clone()
        if delta is not None:
            expected += delta.dense()
            untouched = delta.dense() == 0
            assert torch.equal(value[untouched], start[name][untouched])
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-15)


def test_the_best_weights_are_kept_without_a_language(paths):
    """A rate of 0 leaves θ⁰: best weights that held a source's φ would show as a difference."""
    net = Net(rate=0.0)
    start = values(net.layers)
    sparse = SparseMaskCallback(
        Budget(num_params=20), dense=Phase(max_steps=STEPS), sparse=Phase(max_steps=STEPS)
    )
    # On either side of the callback that keeps them: the order must not matter.
    for callbacks in ([LanguageSfts(paths), sparse], [sparse, LanguageSfts(paths)]):
        run = trainer(*callbacks, val_check_interval=2, check_val_every_n_epoch=None)
        # The last batch of a validation has a difference in place.
        run.fit(net, loader(batches(STEPS)), loader(batches(4)))
        for name, value in values(net.layers).items():
            assert torch.equal(value, start[name]), name
        assert all((delta.values == 0).all() for delta in sparse.sft.entries.values())


def test_one_source_in_place_per_batch_or_for_good(paths):
    """Two ways to train over one language's φ; float64 leaves 1e-12 of rounding between them.

    They differ in what the optimizer adds its steps to: θ⁰, or θ⁰ + φ.
    """
    items = [batch | {"language": "aa"} for batch in batches(STEPS)]
    sft = differences()["aa"]
    per_batch, for_good = Net(decay=0.0), Net(decay=0.0)
    trainer(LanguageSfts({"aa": paths["aa"]}), max_epochs=1).fit(per_batch, loader(items))
    sft.apply(for_good.layers)
    trainer(max_epochs=1).fit(for_good, loader(items))
    weights = values(for_good.layers)
    for name, delta in sft.entries.items():
        weights[name] -= delta.dense()
    for name, value in values(per_batch.layers).items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-12)


def test_a_wrong_base_is_found_before_training(tmp_path):
    other = Net().layers
    with torch.no_grad():
        other[0].weight.add_(1)
    sft = differences()["aa"]
    sft.metadata.base_digests.update(base_digests(other, NAMES))
    sft.save_pretrained(tmp_path / "aa")
    net = Net()
    with pytest.raises(LtsftError, match="weights it was trained from"):
        trainer(LanguageSfts({"aa": str(tmp_path / "aa")}), max_epochs=1).fit(
            net, loader(batches())
        )
    assert net.losses == []
