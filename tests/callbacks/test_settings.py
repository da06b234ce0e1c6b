"""What a fit refuses before anything is trained, and what it says of a fit that trains nothing."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import nn

from ltsft.errors import LtsftError
from ltsft.sparse import ScopeRules
from tests.callbacks.plain import Plain, callback, data, trainer


class Counting(Plain):
    """Counts the batches that it was trained on."""

    num_batches = 0

    def training_step(self, batch, batch_idx):
        self.num_batches += 1
        return super().training_step(batch, batch_idx)


def refused(module, match, *others, **settings):
    run = trainer(callback(**settings), *others)
    with pytest.raises(LtsftError, match=match):
        run.fit(module, data())
    assert getattr(module, "num_batches", 0) == 0


@pytest.mark.parametrize("averaging", [StochasticWeightAveraging(0.1), WeightAveraging()])
def test_averaged_weights(averaging):
    refused(Counting(), f"be without {type(averaging).__name__}, which averages", averaging)


def test_half_precision():
    refused(Counting().half(), "to be float32, but `layers.0.weight` is float16")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (BackboneFinetuning(), "freezes and unfreezes"),
        (ModelPruning("l1_unstructured", amount=0.5), "puts other parameters in place"),
    ],
)
def test_callbacks_that_decide_themselves_what_trains(other, reason):
    refused(Counting(), f"be without {type(other).__name__}, which {reason}", other)


@pytest.mark.parametrize("place", ["file", "file/deeper", "folder"])
def test_a_folder_that_cannot_be_written(place):
    """Told before training, not when there is a result to be lost."""
    Path("file").write_text("")
    Path("folder").mkdir()
    Path("folder/sft").write_text("")
    refused(Counting(), "`sparse.output_dir` is expected to be a folder", output_dir=place)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("sft_root", "layers", "`sft_root` is expected to be a Module, but got 'layers'"),
        ("scope_rules", lambda: ["layers.3"], r"`scope_rules\(\)` .* a ScopeRules, but got"),
        ("sft_metadata", {"task": "x"}, "`sft_metadata` is expected to be a method that returns"),
        ("sft_metadata", lambda: None, "`sft_metadata` .* a mapping .* but got None"),
        ("sft_metadata", lambda: {"foo": 1}, "`sft_metadata` .* fields of `Metadata` .*task"),
        ("sft_metadata", lambda: {"base_model": Path("x")}, "what JSON can hold .* PosixPath"),
        (
            "sft_metadata",
            lambda: {"labels": [1, 2]},
            "`labels` in the metadata is expected to be a",
        ),
    ],
)
def test_what_a_module_says_of_itself(name, value, match):
    module = Counting()
    setattr(module, name, value)
    refused(module, match)


def test_what_a_module_says_is_in_the_file():
    module = Counting()
    module.sft_metadata = lambda: {"task": "x", "base_model": "some/base"}
    sft = callback()
    trainer(sft).fit(module, data())
    assert (sft.sft.metadata.task, sft.sft.metadata.base_model) == ("x", "some/base")


class Forgetful(Plain):
    """Trains its last layer only."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.layers[3].parameters(), lr=0.1)


def test_entries_that_did_not_change_are_told_of():
    """Selected all the same, K of them: 27 entries of 83 could change."""
    sft = callback(num_params=40)
    with pytest.warns(UserWarning, match="13 of the 40 selected entries did not change"):
        trainer(sft).fit(Forgetful(), data())
    assert sft.sft.num_params == 40


class Keeping(Plain):
    """Makes its optimizer once."""

    def __init__(self):
        super().__init__()
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)

    def configure_optimizers(self):
        return self.optimizer


class Making(Plain):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def test_an_optimizer_that_is_kept_is_fresh_in_each_phase():
    """Judged by a module that makes a new one."""
    results = []
    for module in (Keeping(), Making()):
        sft = callback()
        trainer(sft).fit(module, data())
        results.append(sft.sft)
    assert results[0] == results[1]


def test_rules_that_leave_nothing():
    refused(nn.Module.train(Counting()), "leave entries to choose", scope=ScopeRules(whole=["*"]))
