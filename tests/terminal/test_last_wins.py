"""Of the sizes of a budget, the one that is said last."""

from pathlib import Path

import pytest

from ltsft.sparse import Budget
from ltsft.terminal.last_wins import with_one_budget
from ltsft.terminal.sft_cli import SftCLI
from tests.tiny import save_base


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        (["--config", "two.yaml"], Budget(reduction_factor=2)),
        (["--config", "two.yaml", "--sparse.budget.density", "0.1"], Budget(density=0.1)),
        (["--config", "two.yaml", "--sparse.budget.density=0.1"], Budget(density=0.1)),
        (["--config", "two.yaml", "--config", "half.yaml"], Budget(density=0.5)),
        (["--config", "half.yaml", "--config", "two.yaml"], Budget(reduction_factor=2)),
        (["--sparse.budget.density", "0.1", "--sparse.budget.num_params", "7"], Budget(7)),
        (["--config", "two.yaml", "--config", "none.yaml"], None),
        (
            ["--config", "two.yaml", "--config", "none.yaml", "--sparse.budget.num_params", "5"],
            Budget(5),
        ),
    ],
)
def test_a_later_size_takes_the_place_of_an_earlier_one(options, budget):
    Path("two.yaml").write_text("sparse:\n  budget:\n    reduction_factor: 2\n")
    Path("half.yaml").write_text("sparse: {budget: {density: 0.5}}\n")
    Path("none.yaml").write_text("sparse: {budget: null, selection: Biases}\n")
    Path("text.txt").write_text("w1 w2\n" * 30)
    base = save_base(Path("base"))
    command = ["fit", "--model", "MaskedLM", "--model.base_model", base, "--data", "TextData"]
    command += ["--data.text", "text.txt", "--data.max_length", "16"]
    config = SftCLI([*command, *options], run=False)
    sparse = next(c for c in config.trainer.callbacks if hasattr(c, "budget"))
    assert sparse.budget == budget


def test_other_options_pass_as_they_are():
    args = ["fit", "--config", "no-such.yaml", "--print_config", "--sparse.budget.density", "null"]
    assert with_one_budget(args) == args
