"""`ltsft compose` with methods and weights, judged by what the plain checkpoint holds."""

import re

import pytest
import torch
from transformers import AutoModelForTokenClassification

from ltsft.cli import main
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning, composition
from tests.tiny import save_base

LABELS = ["A", "B"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base model, a tagger's fine-tuning `task` and two languages' `aa` and `bb`."""
    folder = tmp_path_factory.mktemp("compose")
    base = save_base(folder / "base")
    model = AutoModelForTokenClassification.from_pretrained(base, num_labels=2)
    tasks = {"task": "pos", "aa": "masked-lm", "bb": "masked-lm"}
    for seed, (name, task) in enumerate(tasks.items()):
        generator = torch.Generator().manual_seed(seed)
        entries = {}
        for parameter_name, parameter in model.bert.named_parameters(prefix="bert"):
            if parameter.dim() == 2:
                chosen = torch.rand(parameter.numel(), generator=generator) < 0.4
                indices = chosen.nonzero().flatten()
                values = torch.randn(len(indices), generator=generator) / 10
                entries[parameter_name] = SparseDelta(tuple(parameter.shape), indices, values)
        head = {n: torch.randn(p.shape) for n, p in model.classifier.named_parameters("classifier")}
        metadata = Metadata(
            base_model=base, task=task, labels=LABELS if name == "task" else None, language=name
        )
        whole = head if name == "task" else {}
        SparseFineTuning(entries, whole, metadata).save_pretrained(folder / name)
    return folder


def run(folder, output, *options):
    sfts = [part for name in ("task", "aa", "bb") for part in ("--sft", str(folder / name))]
    return main(["compose", *sfts, "--output", str(output), *options])


def composed_weights(output):
    return AutoModelForTokenClassification.from_pretrained(output).state_dict()


def placed(folder, sfts):
    """The base model with fine-tunings put in place one after the other."""
    base = AutoModelForTokenClassification.from_pretrained(folder / "base", num_labels=2)
    for sft in sfts:
        sft.apply(base)
    return base.state_dict()


def load(folder):
    return [SparseFineTuning.from_pretrained(folder / name) for name in ("task", "aa", "bb")]


def same(got, expected):
    return all(torch.equal(got[name], value) for name, value in expected.items())


def test_the_default_is_one_after_the_other_to_the_bit(folder, tmp_path, capsys):
    """The composed sum is rounded differently somewhere, so the test can tell."""
    assert run(folder, tmp_path / "plain") == 0
    said = " + ".join(str(folder / name) for name in ("task", "aa", "bb"))
    assert f"with {said} to" in capsys.readouterr().out
    expected = placed(folder, load(folder))
    assert same(composed_weights(tmp_path / "plain"), expected)
    assert not same(placed(folder, [composition.weighted_sum(load(folder))]), expected)
    assert run(folder, tmp_path / "ones", *["--weight", "1"] * 3) == 0
    assert same(composed_weights(tmp_path / "ones"), expected)


def test_weights_are_in_the_order_of_the_sfts(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out", "--weight", "1", "--weight", "0.5", "--weight=-2") == 0
    said = capsys.readouterr().out
    assert f"{folder / 'task'} + 0.5 · {folder / 'aa'} + -2 · {folder / 'bb'}" in said
    task, aa, bb = load(folder)
    assert same(composed_weights(tmp_path / "out"), placed(folder, [task, aa * 0.5, bb * -2.0]))


@pytest.mark.parametrize(
    ("options", "compose"),
    [
        (["--method", "mean"], composition.mean),
        (["--method", "ties"], composition.ties),
        (
            ["--method", "ties", "--density", "0.5"],
            lambda sfts: composition.ties(sfts, density=0.5),
        ),
        (["--method", "dare"], composition.dare),
        (
            ["--method", "dare", "--drop", "0.3", "--seed", "7"],
            lambda sfts: composition.dare(sfts, drop=0.3, seed=7),
        ),
    ],
)
def test_every_method_with_its_settings(folder, tmp_path, options, compose):
    """The head is the task's, unscaled."""
    assert run(folder, tmp_path / "out", *options) == 0
    expected = placed(folder, [compose(load(folder))])
    got = composed_weights(tmp_path / "out")
    assert same(got, expected)
    assert torch.equal(got["classifier.weight"], load(folder)[0].whole["classifier.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight", "1"], "`--weight` is expected once for each `--sft`, .* got 1 for 3"),
        (["--drop", "0.5"], "`--drop` is expected beside `--method dare` only, .* is sum"),
        (["--method", "mean", "--density", "0.5"], "`--density` .* `--method ties` only"),
        (["--method", "dare", "--drop", "1"], "`drop` is expected to be at least 0 and below 1"),
        (["--method", "median"], "invalid choice: 'median'"),
        (["--sft", "FOLDER/aa"], "`--sft` is expected to name each SFT once, .*aa twice"),
    ],
)
def test_mistakes_end_in_one_line(folder, tmp_path, capsys, options, message):
    options = [option.replace("FOLDER", str(folder)) for option in options]
    assert run(folder, tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said), said
    assert not (tmp_path / "out").exists()
