"""The systems of the paper are small files that go after any config of a language or a task."""

from pathlib import Path

import pytest

from ltsft.modules.adapters.adapters import Adapters
from ltsft.sparse import AllEntries, Biases, Budget, NoEntries, Random
from ltsft.terminal.sft_cli import SftCLI
from tests.tiny import save_base

CONFIGS = Path(__file__).parents[1] / "configs"
SENTENCE = "1\tw1\t_\tNOUN\t_\t_\t0\troot\t_\t_\n\n"
TAGS = "w1\tB-PER\nw2\tO\n\n"


@pytest.fixture
def arguments():
    """The options that a config leaves to its user, by config."""
    base = save_base(Path("base"))
    Path("text.txt").write_text("w1 w2 w3 w4\n" * 50)
    Path("a.conllu").write_text(SENTENCE)
    Path("a.iob2").write_text(TAGS)
    model = ["--model.base_model", base]

    def labelled(file):
        return [*model, "--data.train", f"{{aa: {file}}}", "--data.validation", f"{{aa: {file}}}"]

    return {
        "language": [*model, "--data.text", "text.txt", "--data.language", "aa"],
        "pos": labelled("a.conllu"),
        "ner": labelled("a.iob2"),
    }


def build(task, system, arguments, *more):
    """What the command line makes of a task's config followed by a system's."""
    configs = [f"task/{task}.yaml", "model/mbert.yaml", f"system/{system}.yaml"]
    options = [part for name in configs for part in ("--config", str(CONFIGS / name))]
    cli = SftCLI(["fit", *options, *arguments[task], *more], run=False)
    sparse = next(c for c in cli.trainer.callbacks if hasattr(c, "selection"))
    return cli.model, sparse


@pytest.mark.parametrize("task", ["language", "pos", "ner"])
@pytest.mark.parametrize(
    ("system", "selection", "has_budget"),
    [("rand_sft", Random, True), ("bitfit", Biases, False), ("full", AllEntries, False)],
)
def test_selections(arguments, task, system, selection, has_budget):
    model, sparse = build(task, system, arguments)
    assert type(sparse.selection) is selection
    assert isinstance(sparse.budget, Budget) is has_budget
    assert model.adapters is None
    assert not sparse.selection.needs_dense_phase


@pytest.mark.parametrize("task", ["language", "pos", "ner"])
def test_mad_x(arguments, task):
    """One phase, as long as the sparse one of the config before it."""
    name = "madx_language" if task == "language" else "madx_task"
    model, sparse = build(task, name, arguments)
    assert isinstance(sparse.selection, NoEntries)
    assert sparse.budget is None
    assert sparse.sparse.l1 == 0.0
    assert sparse.sparse.max_epochs == (100 if task == "language" else 10)
    assert model.adapters == Adapters()
    assert list(model.model.adapter_slots) == (
        ["language"] if task == "language" else ["language", "task"]
    )


def test_a_system_may_come_after_options_as_in_a_study(arguments):
    """A study says its own fits by options, and a system's by a file after them."""
    options = ["--model", "MaskedLM", "--data", "TextData", *arguments["language"]]
    options += ["--sparse.budget.density", "0.1", "--sparse.sparse.max_steps", "7"]
    overlay = ["--config", str(CONFIGS / "system/madx_language.yaml")]
    cli = SftCLI(["fit", *options, *overlay], run=False)
    sparse = next(c for c in cli.trainer.callbacks if hasattr(c, "selection"))
    assert sparse.budget is None
    assert sparse.sparse.max_steps == 7
    assert cli.model.adapters == Adapters()


def test_options_of_adapters_can_be_set_on_the_command_line(arguments):
    option = "--model.init_args.adapters.task_reduction_factor"
    model, _ = build("pos", "madx_task", arguments, option, "4")
    assert model.adapters == Adapters(task_reduction_factor=4)


@pytest.mark.parametrize("path", sorted((CONFIGS / "system").glob("*.yaml")), ids=lambda p: p.stem)
def test_each_file_begins_with_its_command(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ltsft fit --config configs/task/")
    assert f"--config configs/system/{path.name} " in first
