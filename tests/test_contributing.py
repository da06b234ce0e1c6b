"""What CONTRIBUTING shows works: each example is a module that a stranger would write."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
import yaml

import ltsft
from ltsft.callbacks import SparseMaskCallback
from ltsft.errors import LtsftError
from ltsft.sparse import Budget, SparseFineTuning, Ticket
from tests.callbacks.plain import Plain, callback, data, trainer, values
from tests.documented import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def written(monkeypatch):
    """The page's modules in the current folder, which is on Python's path."""
    for name, text in MODULES.items():
        Path(name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    yield
    for name in MODULES:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_a_selection_in_python(written):
    """Against a full sort; in a ticket, and in the callback."""
    from my_selection import TowardsZero

    module = Plain()
    before, ticket = values(module), Ticket(module)
    for parameter in module.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    mask = ticket.select(TowardsZero(), 10)
    after = values(module)
    shrank = torch.cat([(before[n].abs() - after[n].abs()).clamp(min=0).flatten() for n in before])
    expected = shrank.argsort(descending=True, stable=True)[:10].sort().values
    chosen = torch.cat([mask[name].flatten() for name in before]).nonzero().flatten()
    assert torch.equal(chosen, expected)

    sft = callback(10, selection=TowardsZero())
    trainer(sft).fit(Plain(), data())
    assert sft.sft.num_params == 10
    assert sft.sft.metadata.selection == "TowardsZero"
    as_written = SparseMaskCallback(Budget(num_params=1000), selection=TowardsZero())
    assert [leg.phase for leg in as_written.program] == ["dense", "sparse"]


def test_a_selection_on_the_command_line(written, trained, ltsft):
    """The page's own command, on a tiny model."""
    (command,) = re.findall(r"^PYTHONPATH=\. (ltsft fit .*)$", PAGE, re.MULTILINE)
    Path("configs").symlink_to(ROOT / "configs")
    for file in ("en-train.conllu", "en-dev.conllu"):
        Path(file).symlink_to(trained.treebank)
    small = ["--config", "configs/trainer/smoke.yaml", "--model.base_model", trained.base]
    small += ["--data.max_length", "24", "--trainer.default_root_dir", "out"]
    small += ["--trainer.enable_progress_bar", "false"]
    ltsft(*shlex.split(command)[1:], *small)
    assert SparseFineTuning.from_pretrained("out").metadata.selection == "TowardsZero"


def test_a_task(written, trained, ltsft):
    rows = [{"text": "w1 w2 w3", "label": "sports"}, {"text": "w4 w5", "label": "politics"}] * 8
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (options,) = re.findall(r"^`(--model my_task.Topics [^`]*)`", PAGE, re.MULTILINE)
    quick = ["--sparse.budget.density", "0.1", "--trainer.enable_checkpointing", "false"]
    for phase in ("dense", "sparse"):
        quick += [f"--sparse.{phase}.max_steps", "2", f"--sparse.{phase}.max_epochs", "null"]
    ltsft(
        "fit", *shlex.split(options), "--model.base_model", trained.base,
        "--data.train", "{aa: a.jsonl}", "--data.validation", "{aa: a.jsonl}", *quick,
        "--data.max_length", "24", "--trainer.default_root_dir", "out",
        "--trainer.enable_progress_bar", "false",
    )  # fmt: skip
    sft = SparseFineTuning.from_pretrained("out")
    assert sft.metadata.task == "topics"
    assert sft.metadata.labels == ["sports", "politics"]
    assert sft.metadata.phases["sparse"]["monitor"] == "val_accuracy"


def test_a_format(written, trained):
    from my_format import SlashedData, read_slashed

    Path("a.txt").write_text("w1/NOUN w2/VERB\n1/2/NUM\n", encoding="utf-8")
    first, second = read_slashed("a.txt")
    assert (first.words, first.tags) == (["w1", "w2"], ["NOUN", "VERB"])
    assert (second.words, second.tags) == (["1/2"], ["NUM"])
    module = SlashedData(trained.base, validation={"aa": "a.txt"}, max_length=24)
    module.setup("validate")
    (batch,) = module.val_dataloader()[0]
    assert batch["language"] == "aa"
    assert batch["labels"].tolist()[0] == [7, 15]  # of the 17 tags, in alphabetical order
    Path("a.txt").write_text("w1/NOUN\nw2\n", encoding="utf-8")
    with pytest.raises(LtsftError, match="a.txt, line 2: a token is expected to be word/TAG"):
        read_slashed("a.txt")


def test_the_rooms_of_the_page_are_those_of_the_test():
    from tests.test_house import ROOMS

    (table,) = re.findall(r"^\| room \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    names = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.strip().splitlines()[2:]]
    assert sorted(name for row in names for name in row) == sorted(ROOMS)


def test_links_and_files_that_the_page_names_are_there():
    for path in re.findall(r"`((?:sparse|tests|docs|configs|ltsft)/[\w./]*\w/?)`", PAGE):
        assert (ROOT / path).exists() or (ROOT / "ltsft" / path).exists(), path


def test_the_citation_is_of_this_version_and_valid():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ltsft.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert [a["family-names"] for a in citation["preferred-citation"]["authors"]] == [
        "Ansell", "Ponti", "Korhonen", "Vulić",
    ]  # fmt: skip
    assert f"## {ltsft.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
