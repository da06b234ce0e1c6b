"""`ltsft compose` with methods and weights, judged by what the plain checkpoint holds."""

import json
import re

import pytest
import torch
from transformers import AutoModelForTokenClassification

from ltsft.cli import main
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning, composition
from ltsft.sparse.ledger import base_digests
from tests.tiny import save_base
from tests.trained import TAGGER, write_treebank

LABELS = ["NOUN", "VERB"]


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
            base_model=base,
            base_digests=base_digests(model, entries),
            task=task,
            labels=LABELS if name == "task" else None,
            language=name,
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


EVERY_METHOD = (
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


@pytest.mark.parametrize(*EVERY_METHOD)
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


class TestAsSft:
    """`--as-sft` writes the composed fine-tuning itself."""

    @pytest.mark.parametrize(*EVERY_METHOD)
    def test_every_method_with_its_settings(self, folder, tmp_path, options, compose):
        """The tensors are those of the library's function, to the bit; the head is the task's."""
        assert run(folder, tmp_path / "out", "--as-sft", *options) == 0
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["sft.safetensors"]
        got, expected = SparseFineTuning.from_pretrained(tmp_path / "out"), compose(load(folder))
        assert got == expected
        assert got.whole.keys() == {"classifier.weight", "classifier.bias"}
        assert got.metadata.num_params == got.num_params

    def test_weights(self, folder, tmp_path, capsys):
        weights = ["--weight", "1", "--weight", "0.5", "--weight=-2", "--method", "ties"]
        assert run(folder, tmp_path / "out", "--as-sft", *weights) == 0
        assert f"with ties({folder / 'task'}, 0.5 · {folder / 'aa'}" in capsys.readouterr().out
        got = SparseFineTuning.from_pretrained(tmp_path / "out")
        assert got == composition.ties(load(folder), [1.0, 0.5, -2.0])

    def test_packed(self, folder, tmp_path):
        """The same in fewer bytes."""
        assert run(folder, tmp_path / "plain", "--as-sft") == 0
        assert run(folder, tmp_path / "packed", "--as-sft", "--packed") == 0
        plain, packed = (tmp_path / name / "sft.safetensors" for name in ("plain", "packed"))
        assert SparseFineTuning.load(plain) == SparseFineTuning.load(packed)
        assert "packed_values" in packed.read_bytes().decode("latin-1")

    def test_a_checkpoint_is_not_packed(self, folder, tmp_path, capsys):
        assert run(folder, tmp_path / "out", "--packed") == 2
        assert "`--packed` is expected beside `--as-sft` only" in capsys.readouterr().err

    def test_a_checkpoint_of_it_needs_to_be_told_nothing(self, folder, tmp_path):
        """Task, labels and base model are those of its parts."""
        assert run(folder, tmp_path / "sft", "--as-sft") == 0
        assert main(["compose", "--sft", str(tmp_path / "sft"), "--output", "model"]) == 0
        assert same(
            composed_weights("model"), placed(folder, [composition.weighted_sum(load(folder))])
        )
        assert AutoModelForTokenClassification.from_pretrained("model").config.id2label == {
            0: "NOUN",
            1: "VERB",
        }

    def test_it_is_used_where_its_parts_are(self, folder, tmp_path):
        """In `base_sfts` with the task, in `languages.sfts` without: the scores of the parts.

        A sum of differences is rounded otherwise than one difference after the other: losses are
        compared within 1e-5, and differ by far more from those of the task alone.
        """
        task, aa, bb = (str(folder / name) for name in ("task", "aa", "bb"))
        assert run(folder, tmp_path / "all", "--as-sft") == 0
        languages = ["compose", "--as-sft", "--sft", aa, "--sft", bb]
        assert main([*languages, "--output", str(tmp_path / "languages")]) == 0
        treebank = write_treebank(tmp_path / "xx.conllu")

        def scores(base_sfts, *options):
            command = ["test", *TAGGER, "--model.base_model", str(folder / "base")]
            command += ["--model.base_sfts", json.dumps(base_sfts)]
            command += ["--data.test", json.dumps({"xx": treebank})]
            command += ["--trainer.default_root_dir", str(tmp_path / "scored")]
            assert main([*command, "--trainer.enable_progress_bar", "false", *options]) == 0
            return json.loads((tmp_path / "scored/scores.json").read_text())

        expected = scores([task, aa, bb])
        assert scores([str(tmp_path / "all")]) == pytest.approx(expected, abs=1e-5)
        placed = {"xx": str(tmp_path / "languages")}
        assert scores([task], "--languages.sfts", json.dumps(placed)) == pytest.approx(
            expected, abs=1e-5
        )
        assert scores([task]) != pytest.approx(expected, abs=1e-2)

    def test_heads_of_several_languages_are_left_out_and_one_alone_keeps_its(self, tmp_path):
        delta = SparseDelta((4,), torch.tensor([1]), torch.tensor([2.0]))
        for name in ("aa", "bb"):
            head = {"cls.bias": torch.randn(3)}
            one = SparseFineTuning({"w": delta}, head, Metadata(task="masked-lm", language=name))
            one.save_pretrained(tmp_path / name)
        aa, bb = (str(tmp_path / name) for name in ("aa", "bb"))
        assert main(["compose", "--as-sft", "--sft", aa, "--weight", "2", "--output", "one"]) == 0
        one = SparseFineTuning.from_pretrained("one")
        assert one == SparseFineTuning.from_pretrained(aa) * 2
        command = ["compose", "--as-sft", "--method", "mean", "--sft", aa, "--sft", bb]
        assert main([*command, "--output", "both"]) == 0
        both = SparseFineTuning.from_pretrained("both")
        assert both == SparseFineTuning({"w": delta})
        assert (both.metadata.task, both.metadata.language) == ("masked-lm", "aa+bb")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--base", "b"], "`--base` is expected to be left out with `--as-sft`.*got b"),
            (["--head", "masked-lm"], "`--head` is expected to be left out with `--as-sft`"),
            (["--sft", "ner"], "2 of .* are of a task"),
            (["--sft", "adapter"], "without adapters.* but adapter fills the slot language"),
        ],
    )
    def test_mistakes_end_in_one_line(self, folder, tmp_path, capsys, options, message):
        SparseFineTuning({}, {}, Metadata(task="ner")).save_pretrained("ner")
        adapter = Metadata(task="masked-lm", slots={"language": {}})
        SparseFineTuning({}, {}, adapter).save_pretrained("adapter")
        assert run(folder, tmp_path / "out", "--as-sft", *options) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert re.search(message, said), said
        assert not (tmp_path / "out").exists()
