"""``ltsft fit | validate | test | predict`` on a tiny model."""

import json
from pathlib import Path

import pytest
import torch

from ltsft.sparse import SparseFineTuning
from ltsft.terminal.sft_cli import SftCLI
from tests.trained import QUICK, TAGGER, TEXT, tags_of


def test_a_fit_writes_everything_into_one_folder(trained):
    names = {path.name for path in Path(trained.task).iterdir()}
    assert {"fit.yaml", "sft", "checkpoints", "metrics.csv"} <= names
    sft = SparseFineTuning.from_pretrained(trained.task)
    assert sft.metadata.task == "pos"
    assert sft.metadata.language == "aa"
    assert sft.metadata.labels[:2] == ["ADJ", "ADP"]
    assert sft.metadata.trained_with == [trained.languages["aa"]]


def test_the_saved_config_repeats_the_fit(trained, ltsft):
    """``fit.yaml`` alone gives the same fine-tuning bit for bit."""
    config = f"{trained.languages['bb']}/fit.yaml"
    ltsft("fit", "--config", config, "--trainer.default_root_dir", "again")
    again = SparseFineTuning.from_pretrained("again")
    assert again == SparseFineTuning.from_pretrained(trained.languages["bb"])


def test_a_fit_that_was_stopped_goes_on_as_if_it_had_not_been(trained, ltsft):
    """From any checkpoint, in mid-pass, of either phase or between them: the same bits at the end.

    Dropout, shuffling, masking and the optimizer's moments all have to go on where they were.
    """
    command = ["fit", "--model", "MaskedLM", "--model.base_model", trained.base, *TEXT]
    command += ["--data.text", trained.text, *QUICK, "--model.learning_rate", "0.01"]
    command += ["--sparse.dense.max_steps", "6", "--sparse.sparse.max_steps", "6"]
    keeper = {"every_n_train_steps": 2, "save_top_k": -1, "filename": "{step}"}
    keeper = {"class_path": "ModelCheckpoint", "init_args": keeper}
    ltsft(
        *command, "--trainer.callbacks", json.dumps([keeper]), "--trainer.default_root_dir", "whole"
    )
    whole = SparseFineTuning.from_pretrained("whole")
    checkpoints = sorted(Path("whole/checkpoints").glob("*.ckpt"))
    phases, differing = [], []
    for path in checkpoints:
        resume = ["--ckpt_path", str(path), "--trainer.default_root_dir", f"from-{path.stem}"]
        ltsft(*command, *resume)
        if SparseFineTuning.from_pretrained(f"from-{path.stem}") != whole:
            differing.append(path.stem)
        callbacks = torch.load(path, weights_only=True)["callbacks"]
        clock = callbacks["SparseMaskCallback"]["clock"]
        phases.append((("dense", "sparse")[clock["place"]], clock["over"]))
    assert differing == []
    assert set(phases) == {(p, over) for p in ("dense", "sparse") for over in (False, True)}


def test_scores_are_those_of_the_predictions(trained, ltsft):
    """Accuracy counted by hand from ``predict`` is what ``test`` writes, language by language."""
    common = [*TAGGER, "--model.base_model", trained.base, "--model.base_sfts", f"[{trained.task}]"]
    common += ["--languages.sfts", json.dumps({"bb": trained.languages["bb"]})]
    sources = json.dumps({"aa": trained.treebank, "bb": trained.treebank})
    common += ["--trainer.default_root_dir", "out"]
    out, err = ltsft("test", *common, "--data.test", sources)
    assert err == []
    assert "| aa " in out
    scores = json.loads(Path("out/scores.json").read_text())
    ltsft("predict", *common, "--data.predict", sources)

    gold = tags_of(trained.treebank)
    for language in ("aa", "bb"):
        predicted = tags_of(f"out/predictions/{language}.conllu")
        pairs = [
            (g, p)
            for gs, ps in zip(gold, predicted, strict=True)
            for g, p in zip(gs, ps, strict=True)
        ]
        accuracy = sum(g == p for g, p in pairs) / len(pairs)
        assert scores[f"test_accuracy/{language}"] == pytest.approx(accuracy)


def test_predictions_of_several_files_are_in_their_order(trained, ltsft):
    """In one file, which is said."""
    Path("aa-1.txt").write_text("w1 w2\nw3\n")
    Path("aa-2.txt").write_text("w4 w5 w6\n")
    out, _ = ltsft(
        "predict", *TAGGER, "--model.base_model", trained.base,
        "--model.base_sfts", f"[{trained.task}]", "--data.predict", "[aa-2.txt, aa-1.txt]",
        "--trainer.default_root_dir", "out",
    )  # fmt: skip
    assert "It holds, in this order: aa-2.txt, aa-1.txt." in out
    words = [
        line.split("\t")[1]
        for line in Path("out/predictions/aa.conllu").read_text().splitlines()
        if line and line[0].isdigit()
    ]
    assert words == ["w4", "w5", "w6", "w1", "w2", "w3"]


def test_validate_writes_scores(trained, ltsft):
    ltsft(
        "validate", *TAGGER, "--model.base_model", trained.base,
        "--model.base_sfts", f"[{trained.task}]", "--data.validation",
        json.dumps({"aa": trained.treebank}), "--trainer.default_root_dir", "out",
    )  # fmt: skip
    assert "val_accuracy" in json.loads(Path("out/scores.json").read_text())


def test_a_checkpoint_brings_its_own_model(trained, ltsft):
    """Without any ``--model``: the class, the labels and the weights are the checkpoint's."""
    cli = SftCLI(
        ["test", *TAGGER[2:], "--data.test", json.dumps({"aa": trained.treebank}),
         "--ckpt_path", trained.checkpoint],
        run=False,
    )  # fmt: skip
    saved = torch.load(trained.checkpoint, weights_only=True)
    assert type(cli.model).__name__ == "Tagger"
    assert cli.model.labels == saved["hyper_parameters"]["labels"]
    for name, weight in cli.model.state_dict().items():
        assert torch.equal(weight, saved["state_dict"][name])
    assert cli.datamodule.tokenizer_name == trained.base


def test_the_fits_own_config_also_tests_its_checkpoint(trained, ltsft):
    _, err = ltsft(
        "test", "--config", f"{trained.task}/fit.yaml", "--ckpt_path", trained.checkpoint,
        "--data.test", json.dumps({"aa": trained.treebank}),
        "--trainer.default_root_dir", "out",
    )  # fmt: skip
    assert err == []


def test_labels_of_the_fine_tuning_are_the_truth(trained, ltsft, tmp_path):
    """A task SFT with labels of its own is tested without naming them."""
    fit = ["fit", *TAGGER, "--model.base_model", trained.base, "--data.labels", "[VERB, NOUN]"]
    fit += ["--data.train", json.dumps({"aa": trained.treebank}), *QUICK]
    ltsft(*fit, "--trainer.default_root_dir", "two")
    test = ["test", *TAGGER, "--model.base_model", trained.base, "--model.base_sfts", "[two]"]
    test += ["--data.test", json.dumps({"aa": trained.treebank})]
    out, _ = ltsft(*test, "--trainer.default_root_dir", "out")
    assert out.splitlines()[-1] == "Wrote out/scores.json."
    out, _ = ltsft(*test, "--trainer.default_root_dir", "out")
    assert out.splitlines()[-1].startswith("Wrote out/scores.json, over an earlier one; ")
    _, err = ltsft(*test, "--data.labels", "[NOUN, VERB]", status=2)
    assert "is expected to have the labels of" in err[0]
    assert "`model.init_args.base_sfts` two (of the task pos), VERB, NOUN" in err[0]


def test_without_a_root_folder_runs_are_numbered(trained, ltsft):
    command = ["fit", *TAGGER, "--model.base_model", trained.base]
    command += ["--data.train", json.dumps({"aa": trained.treebank}), *QUICK]
    for number in (0, 1):
        ltsft(*command)
        assert Path(f"runs/version_{number}/sft/sft.safetensors").is_file()


def test_the_callbacks_cannot_be_lost(trained):
    """A config that sets ``trainer.callbacks`` leaves the two phases in place."""
    Path("callbacks.yaml").write_text("trainer: {callbacks: [{class_path: ModelSummary}]}")
    cli = SftCLI(
        ["fit", "--config", "callbacks.yaml", *TAGGER, "--model.base_model", trained.base,
         "--data.train", json.dumps({"aa": trained.treebank}), *QUICK],
        run=False,
    )  # fmt: skip
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert names.count("SparseMaskCallback") == 1
    assert "ModelSummary" in names


def test_scoring_takes_no_budget_and_leaves_the_phases_out(trained):
    cli = SftCLI(
        ["test", *TAGGER, "--model.base_model", trained.base,
         "--model.base_sfts", f"[{trained.task}]"],
        run=False,
    )  # fmt: skip
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert "SparseMaskCallback" not in names
    assert "LanguageSfts" in names
