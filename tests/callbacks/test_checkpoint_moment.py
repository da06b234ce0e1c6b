"""Whatever moment a checkpoint is of: it goes on to the same bits, or it is refused in one line."""

import itertools
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ltsft.callbacks import LanguageSfts, Phase
from ltsft.errors import LtsftError
from tests.callbacks.plain import Plain, callback, data, trainer
from tests.callbacks.test_many_sources import STEPS, Net, batches, differences
from tests.callbacks.test_many_sources import loader as loader_of_sources
from tests.callbacks.test_resume import Resumable

HOOKS = [
    hook
    for hook in dir(Callback)
    if hook.startswith("on_") and any(word in hook for word in ("train", "valid", "ward", "zero"))
]
BETWEEN = {
    "on_train_start",
    "on_train_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
}


class SaveEverywhere(Callback):
    """Writes a checkpoint in each hook, each time, outside the sanity check."""

    def __init__(self, folder, hooks=HOOKS):
        self.folder, self.number = Path(folder), itertools.count()
        for hook in hooks:
            setattr(self, hook, lambda trainer, *_, hook=hook: self._save(trainer, hook))

    def _save(self, trainer, hook):
        if not trainer.sanity_checking:
            path = self.folder / f"{next(self.number):03d}-{trainer.global_step}-{hook}.ckpt"
            trainer.save_checkpoint(path)


def fit(*extra, ckpt_path=None, first=(), **settings):
    module = Plain(dropout=0.3, batch_norm=True, seed=0 if ckpt_path is None else 9)
    phases = Phase(max_steps=5, l1=0.1), Phase(max_steps=4)
    sft = callback(10, *phases, monitor="val_loss", mode="min")
    torch.manual_seed(5 if ckpt_path is None else 7)
    run = trainer(*first, sft, *extra, **settings)
    run.fit(module, Resumable(), data(num=8, seed=2), ckpt_path=ckpt_path)
    return sft.sft, module.state_dict()


def is_same(one, other):
    return one[0] == other[0] and all(torch.equal(one[1][n], v) for n, v in other[1].items())


def resumed(path, expected, **settings):
    """What becomes of a checkpoint."""
    try:
        return "same" if is_same(fit(ckpt_path=path, **settings), expected) else "other"
    except LtsftError as error:
        is_refused = "expected to be written between two steps, but was " in str(error)
        return "refused" if is_refused else str(error)


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"val_check_interval": 3, "check_val_every_n_epoch": None}],
    ids=["passes", "steps"],
)
def test_in_every_hook(settings, is_first, tmp_path):
    """Of a callback that comes before or after: before, the step is not counted yet."""
    expected = fit(**settings)
    saver = [SaveEverywhere(tmp_path)]
    run = fit(first=saver, **settings) if is_first else fit(*saver, **settings)
    assert is_same(run, expected)
    seen = {}
    for path in sorted(tmp_path.glob("*.ckpt")):
        hook = path.stem.split("-")[2]
        seen.setdefault(hook, set()).add(resumed(path, expected, **settings))
    assert seen.keys() >= BETWEEN | {"on_after_backward", "on_validation_batch_end"}
    good = set() if is_first else BETWEEN
    assert seen == {hook: {"same"} if hook in good else {"refused"} for hook in seen}


def test_while_gradients_are_accumulated(tmp_path):
    """They are in no checkpoint; those after a step are good ones, whatever comes between."""
    settings = {"accumulate_grad_batches": 3}
    expected = fit(**settings)
    fit(SaveEverywhere(tmp_path, ["on_train_batch_end"]), **settings)
    steps, results = [], []
    for path in sorted(tmp_path.glob("*.ckpt")):
        steps.append(int(path.stem.split("-")[1]))
        results.append(resumed(path, expected, **settings))
    # The last of a batch's equals: 8 batches a pass are steps of 3, 3 and 2.
    is_after_step = [step > before for before, step in itertools.pairwise([0, *steps])]
    assert len(steps) > 9
    assert results == ["same" if after else "refused" for after in is_after_step]


class SaveAtLines:
    """Writes a checkpoint when certain lines of code have run, as a handler of signals would."""

    PLACES = ("lightning/pytorch", "ltsft/callbacks", "ltsft/sparse", "torch/optim", "test_resume")

    def __init__(self, folder, lines=()):
        self.folder, self.lines, self.number = folder, set(lines), 0
        self.trainer, self.is_saving = None, False

    def __call__(self, frame, event, arg):
        if self.is_saving or not any(p in frame.f_code.co_filename for p in self.PLACES):
            return None
        return self._line

    def _line(self, frame, event, arg):
        is_begun = self.trainer.global_step > 0 and not self.trainer.sanity_checking
        if event == "line" and is_begun and not self.is_saving:
            self.number += 1
            if self.number in self.lines:
                self.is_saving = True
                self.trainer.save_checkpoint(self.folder / f"{self.number}.ckpt")
                self.is_saving = False
        return self._line


def traced(tracer):
    class Begin(Callback):
        def on_train_start(self, trainer, module):
            tracer.trainer = trainer
            sys.settrace(tracer)

        def on_train_end(self, trainer, module):
            sys.settrace(None)

    before = sys.gettrace()
    try:
        return fit(first=[Begin()])
    finally:
        sys.settrace(before)


def test_at_any_line(tmp_path):
    """Lightning's own handlers save at once. Lines are drawn by a fixed seed."""
    expected = fit()
    counting = SaveAtLines(tmp_path)
    traced(counting)
    lines = random.Random(3).sample(range(1, counting.number), 40)
    assert is_same(traced(SaveAtLines(tmp_path, lines)), expected)
    paths = list(tmp_path.glob("*.ckpt"))
    assert len(paths) == 40
    results = Counter(resumed(path, expected) for path in paths)
    assert results["other"] == 0
    assert results["refused"] > 30


def test_no_fine_tuning_of_a_language_gets_into_one(tmp_path):
    """Written while one is in place, it has the weights as the batch before left them."""
    sft = callback(9, Phase(max_steps=STEPS), Phase(max_steps=STEPS))
    saver = SaveEverywhere(tmp_path, ["on_train_batch_end", "on_before_backward"])
    run = trainer(LanguageSfts(differences()), sft, saver)
    run.fit(Net(), loader_of_sources(batches(2 * STEPS)))
    states = {}
    for path in tmp_path.glob("*.ckpt"):
        _, step, hook = path.stem.split("-")
        states[hook, int(step)] = torch.load(path, weights_only=True)["state_dict"]
    for step in range(1, 2 * STEPS):
        if step != STEPS:  # then weights are rewound before the next batch
            in_batch, ended = (
                states[hook, step] for hook in ("on_before_backward", "on_train_batch_end")
            )
            assert all(torch.equal(in_batch[name], value) for name, value in ended.items()), step


def test_after_training_it_is_of_the_end(tmp_path):
    sft = callback()
    run = trainer(sft)
    run.fit(Plain(), data())
    run.save_checkpoint(tmp_path / "end.ckpt")
    again = callback()
    trainer(again).fit(Plain(), data(), ckpt_path=tmp_path / "end.ckpt")
    assert again.sft == sft.sft


@pytest.mark.parametrize("monitor", [None, "val_loss"])
def test_a_validation_before_training_goes_on_saves_nothing_to_go_on_from(tmp_path, monitor):
    """It was due at a checkpoint of a step, whose counters are in place still."""
    settings = {
        "enable_checkpointing": True,
        "val_check_interval": 3,
        "check_val_every_n_epoch": None,
    }
    steps = ModelCheckpoint(tmp_path / "a", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    expected = fit(steps, **settings)
    due = str(tmp_path / "a" / "step=3.ckpt")
    passes = ModelCheckpoint(tmp_path / "b", monitor=monitor, save_top_k=-1, filename="{step}")
    assert is_same(fit(passes, ckpt_path=due, **settings), expected)
    early = tmp_path / "b" / "step=3.ckpt"
    assert early.exists() == (monitor is not None)
    if early.exists():
        with pytest.raises(LtsftError, match="but was before training had gone on"):
            fit(ckpt_path=str(early), **settings)
    for path in set((tmp_path / "b").glob("*.ckpt")) - {early}:
        assert is_same(fit(ckpt_path=str(path), **settings), expected)
