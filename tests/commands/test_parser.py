"""The parser from the command line: fit, test, predict; and what compose makes of it."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from ltsft.cli import main
from ltsft.data.labels import RELATIONS
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from ltsft.sparse.digest import tensor_digest
from ltsft.terminal.dispatch import USER_ERROR
from tests.tasks.test_parser import official, random_treebank
from tests.tiny import save_base

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[Path, list[str], str]:
    """Folder of a fit as in the config of the task, options of a tiny model, and a treebank."""
    base = save_base(tmp_path / "base")
    gold = random_treebank(tmp_path / "gold.conllu", num=40)
    model = ["--config", str(CONFIGS / "task/dp.yaml"), "--model.base_model", base]
    model += ["--data.max_length", "12", "--trainer.accelerator", "cpu"]
    model += ["--trainer.enable_progress_bar", "false"]
    options = ["--config", str(CONFIGS / "trainer/smoke.yaml"), "--model.learning_rate", "1e-2"]
    options += ["--data.train", json.dumps({"en": gold})]
    options += ["--data.validation", json.dumps({"en": gold})]
    options += ["--trainer.default_root_dir", str(tmp_path / "fit")]
    assert main(["fit", *model, *options]) == 0
    return tmp_path / "fit", model, gold


def test_fit_test_predict(fitted: tuple[Path, list[str], str], tmp_path: Path) -> None:
    """A fine-tuning of the command line is tested and predicts, and the official scorer agrees."""
    folder, model, gold = fitted
    both = ["--model.base_sfts", json.dumps([str(folder)])]
    both += ["--trainer.default_root_dir", str(tmp_path / "out")]
    test = ["--data.test", json.dumps({"xx": gold, "yy": gold})]
    predict = ["--data.predict", json.dumps({"xx": gold, "yy": gold})]
    assert main(["test", *model, *both, *test]) == 0
    assert main(["predict", *model, *both, *predict]) == 0
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    for language in ("xx", "yy"):
        expected = official(gold, tmp_path / f"out/predictions/{language}.conllu")
        assert {name: scores[f"test_{name}/{language}"] for name in expected} == expected
    metrics = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {f"val_{name}" for name in ("las", "uas", "paper_las", "paper_uas", "loss")} <= {
        *metrics
    }


def test_labels_of_other_parsers(
    fitted: tuple[Path, list[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fine-tuning's relations are the truth; others are refused."""
    folder, model, gold = fitted
    capsys.readouterr()  # what the fit said
    options = ["--model.base_sfts", json.dumps([str(folder)])]
    options += ["--data.test", json.dumps({"xx": gold})]
    options += ["--data.labels", json.dumps(["_", *RELATIONS])]
    assert main(["test", *model, *options]) == USER_ERROR
    error = capsys.readouterr().err
    assert "`model.init_args.labels` is expected to have the labels of" in error
    assert error.count("\n") == 1


def test_compose_writes_fine_tunings_of_parsers_and_no_checkpoints(
    fitted: tuple[Path, list[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No class of transformers has a biaffine head; a composed fine-tuning parses as its parts."""
    folder, model, gold = fitted
    weights = AutoModel.from_pretrained(tmp_path / "base")
    name = "bert.encoder.layer.0.output.dense.weight"
    parameter = weights.get_parameter(name.removeprefix("bert."))
    indices = torch.arange(0, parameter.numel(), 2)
    values = torch.randn(len(indices), generator=torch.Generator().manual_seed(0))
    metadata = Metadata(
        base_digests={name: tensor_digest(parameter)}, task="masked-lm", language="xx"
    )
    SparseFineTuning(
        {name: SparseDelta(tuple(parameter.shape), indices, values)}, {}, metadata
    ).save_pretrained(tmp_path / "xx")
    capsys.readouterr()
    command = ["compose", "--sft", str(folder), "--sft", str(tmp_path / "xx")]
    base = ["--base", str(tmp_path / "base")]
    assert main([*command, *base, "--output", str(tmp_path / "c")]) == USER_ERROR
    error = capsys.readouterr().err
    assert "parse with `ltsft predict --model Parser --model.base_sfts" in error
    assert "compose them to one SFT with `--as-sft`" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "c").exists()

    assert main([*command, "--as-sft", "--output", str(tmp_path / "c")]) == 0
    predictions = {}
    for case in ([str(folder)], [str(folder), str(tmp_path / "xx")], [str(tmp_path / "c")]):
        options = [*model, "--model.base_sfts", json.dumps(case)]
        options += ["--data.predict", json.dumps({"xx": gold})]
        out = tmp_path / str(len(predictions))
        assert main(["predict", *options, "--trainer.default_root_dir", str(out)]) == 0
        predictions[len(predictions)] = (out / "predictions/xx.conllu").read_text()
    alone, parts, composed = predictions.values()
    assert composed == parts != alone


def test_a_broken_treebank_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save_base(tmp_path / "base")
    path = tmp_path / "a.conllu"
    path.write_text("1\ta\t_\tX\t_\t_\t2\tx\t_\t_\n2\tb\t_\tX\t_\t_\t1\tx\t_\t_\n")
    arguments = ["--model", "Parser", "--model.base_model", base, "--data", "ParsingData"]
    arguments += ["--data.max_length", "12", "--data.test", json.dumps({"xx": str(path)})]
    arguments += ["--data.labels", json.dumps(RELATIONS), "--trainer.accelerator", "cpu"]
    capsys.readouterr()  # the bar of saving the model
    assert main(["test", *arguments]) == USER_ERROR  # by a head that nobody trained
    assert "bring the head of the task" in capsys.readouterr().err
    arguments = [arg.replace("--data.test", "--data.train") for arg in arguments]
    arguments += ["--sparse.budget.density", "0.1"]
    assert main(["fit", *arguments]) == USER_ERROR
    error = capsys.readouterr().err
    assert "a.conllu, line 1: the heads (column 7)" in error
    assert error.count("\n") == 1
