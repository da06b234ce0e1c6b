"""Every config starts with its command, and every documented composition builds."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from ltsft.callbacks import Phase
from ltsft.sparse import SparseFineTuning
from tests.documented import ROOT, callbacks, compose

CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.yaml"))


def commands_in(config: str) -> list[str]:
    """The commands in a config's comments."""
    text = (ROOT / config).read_text(encoding="utf-8")
    return re.findall(r"^# (ltsft .*)$", text, re.MULTILINE)


COMPOSED = sorted(
    {command for config in CONFIGS for command in commands_in(config) if "--config" in command}
)


@pytest.fixture(autouse=True)
def _configs_are_here():
    Path("configs").symlink_to(ROOT / "configs")


@pytest.mark.parametrize("config", CONFIGS)
def test_it_starts_with_its_command(config):
    first = (ROOT / config).read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# {commands_in(config)[0]}"
    assert config in shlex.split(first)


@pytest.mark.parametrize("command", COMPOSED)
def test_compositions_build_and_keep_the_callbacks(command, trained):
    """Fits have both phases, whatever sets ``trainer.callbacks``; scoring has none."""
    cli = compose(command, trained)
    assert callbacks(cli).count("SparseMaskCallback") == (command.split()[1] == "fit")
    assert callbacks(cli).count("LanguageSfts") == 1
    assert cli.trainer.max_epochs == -1


def composed(config: str, trained, *more: str):
    """The first documented composition of a config, and its SparseMaskCallback."""
    cli = compose(" ".join([commands_in(config)[0], *more]), trained)
    (sft,) = [c for c in cli.trainer.callbacks if type(c).__name__ == "SparseMaskCallback"]
    return cli, sft


def base_size(budget) -> int:
    """K in a model of BERT base's size."""
    model = nn.Module()
    model.config = SimpleNamespace(num_hidden_layers=12, hidden_size=768)
    return budget.resolve(model, num_maskable=177_000_000)


def test_languages_are_as_in_the_paper(trained):
    """Ansell et al. (2022), §4.1 and §4.2; also with the config for languages with much text."""
    for config, held_out, every in (
        ("task/language", 0.05, 1000),
        ("data/high_resource", 0.01, 5000),
    ):
        cli, sft = composed(f"configs/{config}.yaml", trained)
        assert base_size(sft.budget) == 7_667_712
        assert sft.dense == sft.sparse
        assert sft.dense == Phase(max_epochs=100, max_steps=100_000, min_steps=30_000, l1=0.1)
        assert cli.model.learning_rate == 5e-5
        assert (cli.datamodule.global_batch_size, cli.datamodule.max_length) == (8, 256)
        assert cli.datamodule.held_out == held_out
        assert cli.trainer.val_check_interval == every
        assert cli.trainer.check_val_every_n_epoch is None
        assert cli.trainer.gradient_clip_val == 1.0
        assert "ModelCheckpoint" in callbacks(cli)


@pytest.mark.parametrize(("config", "task"), [("pos", "pos"), ("ner", "ner")])
def test_tasks_are_as_in_the_paper(config, task, trained):
    cli, sft = composed(f"configs/task/{config}.yaml", trained)
    assert base_size(sft.budget) == 14_155_776
    assert (sft.dense, sft.sparse) == (Phase(max_epochs=3), Phase(max_epochs=10))
    assert cli.model.task_name == task
    assert cli.model.learning_rate == 5e-5
    assert (cli.datamodule.global_batch_size, cli.datamodule.max_length) == (8, 256)
    assert cli.trainer.val_check_interval == 250
    assert cli.model.labels == cli.datamodule.labels


def smoke(config: str) -> list[str]:
    configs = [f"configs/task/{config}.yaml", "configs/model/mbert.yaml"]
    return ["fit", *(f"--config={path}" for path in [*configs, "configs/trainer/smoke.yaml"])]


@pytest.mark.parametrize("config", ["language", "pos", "ner"])
def test_the_smoke_config_makes_any_fit_short(config, trained, ltsft):
    """They train, on short sequences and a small model, which has fewer entries than mBERT."""
    entities = Path("ner.iob2")
    entities.write_text("w1 B-PER\nw2 I-PER\nw3 B-DATE\nw4 B-LOC\n\n".replace(" ", "\t") * 9)
    data = {
        "language": ["--data.text", trained.text, "--sparse.budget.invertible", "false"],
        "pos": [f"--data.{role}={{aa: {trained.treebank}}}" for role in ("train", "validation")],
        "ner": [f"--data.{role}={{aa: {entities}}}" for role in ("train", "validation")],
    }
    options = ["--model.base_model", trained.base, "--data.max_length", "24"]
    options += ["--sparse.budget.reduction_factor", "1", "--trainer.default_root_dir", "out"]
    out, err = ltsft(*smoke(config), *data[config], *options, "--trainer.enable_progress_bar=false")
    assert err == []
    assert "outside the inventory" not in out  # dates are mapped to O
    sft = SparseFineTuning.from_pretrained("out")
    assert sft.num_params == 2 * 2 * 16**2
    assert [phase["steps"] for phase in sft.metadata.phases.values()] == [4, 4]


STUDIES = [config for config in CONFIGS if config.startswith("configs/study/")]


@pytest.mark.parametrize("config", STUDIES)
def test_studies_plan_commands_that_build(config, trained, ltsft):
    """A planned fit and test of each stage and system, with the tiny base model."""
    out, err = ltsft(*shlex.split(commands_in(config)[0])[1:], "--dry-run")
    assert all("is expected to be where data is" in line for line in err)  # none is here
    assert not Path("runs").exists()
    runs = re.findall(r"^# (\w+): [\w.-]+ \(to do\)\n(.*)$", out, re.MULTILINE)
    built = set()
    for stage, command in runs:
        # Languages, budgets and conditions are alike but for names and numbers.
        kind = (stage, *re.findall(r"--config (\S+)", command))
        if stage in ("languages", "task", "test") and kind not in built:
            built.add(kind)
            cli = compose(command, trained)
            assert callbacks(cli).count("SparseMaskCallback") == (stage != "test")
    assert {"languages", "task", "test"} == {stage for stage, *_ in built}


def test_the_quickstarts_plan(ltsft):
    out, _ = ltsft("study", "configs/study/quickstart.yaml", "--dry-run")
    runs = re.findall(r"^# (\w+: \w+) \(to do\)$", out, re.MULTILINE)
    languages = ["alora", "elmu", "fanto", "gurib", "hadel"]
    assert runs == [
        "pretrain: base",
        *(f"languages: {language}" for language in languages),
        "task: task",
        *(f"test: {condition}" for condition in ("alone", "source", "wrong", "target")),
        "table: table",
    ]
    wrong = next(line for line in out.splitlines() if "test/wrong" in line)
    options = dict(word.split("=", 1) for word in shlex.split(wrong) if "=" in word)
    under = json.loads(options["--languages.sfts"])
    assert {t: Path(sft).parent.name for t, sft in under.items()} == {
        "elmu": "fanto", "fanto": "gurib", "gurib": "hadel", "hadel": "elmu",
    }  # fmt: skip
