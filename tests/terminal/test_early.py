"""Mistakes that show before anything heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.sparse import SparseFineTuning
from ltsft.terminal.early import check

BASE = ["--model", "Tagger"]


@pytest.fixture(autouse=True)
def _files():
    Path("here.conllu").write_text("x")
    Path("a.ckpt").write_text("x")
    Path("own.yaml").write_text("data:\n  init_args:\n    train: {en: gone.conllu}\n")


@pytest.mark.parametrize(
    ("command", "args", "message"),
    [
        ("fit", ["--config", "gone.yaml"], "`--config` .* 'gone.yaml' is no file"),
        ("fit", ["--ckpt_path", "b.ckpt"], "`ckpt_path` .* 'b.ckpt' is none; there is a.ckpt"),
        ("fit", ["--data.text", "gone.txt"], "`data.init_args.text` .* 'gone.txt' is neither"),
        ("fit", ["--data.text={wo: gone.txt}"], "`data.init_args.text.wo` .* 'gone.txt'"),
        ("fit", ["--data.text", "{wo:gone.txt}"], "a blank goes after the colon"),
        ("fit", ["--data.init_args.train", "[here.conllu, b.conllu]"], "train` .* 'b.conllu'"),
        ("test", ["--data.test", "{en: {path: b.tsv, limit: 3}}"], "test.en` .* 'b.tsv'"),
        ("fit", ["--config", "own.yaml"], "`data.init_args.train.en` .* 'gone.conllu'"),
    ],
)
def test_what_is_not_there_is_told(command, args, message):
    with pytest.raises(LtsftError, match=message):
        check(command, [*BASE, *args])


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("fit", []),
        ("fit", ["--config", "own.yaml", "--data.train", "{en: here.conllu}"]),  # later ones win
        ("test", ["--config", "own.yaml"]),  # reads no training data
        ("fit", ["--data.train", "{en: user/data}", "--ckpt_path", "last"]),
        ("fit", ["--data.text", "artificial:alora", "--ckpt_path", "null"]),
        ("predict", ["--data.predict", "-", "--print_config"]),
        ("fit", ["--model.base_model", "user/model", "--model.base_sfts", "[user/sft]"]),
        ("fit", ["--model.base_model", "model", "--model.base_sfts", "null"]),
    ],
)
def test_what_may_be_there_is_left_to_others(command, args):
    check(command, [*BASE, *args])


POS = ["fit", "--config", "ltsft:task/pos"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([*POS, "--data.train", "{en: b.conllu}"], "'b.conllu' is neither a file"),
        ([*POS, "--model.base_model", "./gone"], "but there is no folder './gone'"),
        ([*POS, "--config", "model.yaml"], "but there is no folder '/gone'"),
        ([*POS, "--model.base_sfts", "[/gone]"], "`/gone` is expected to be the file or folder"),
        ([*POS, "--model.base_sfts", "[here.conllu]"], "`here.conllu` is expected to be a safe"),
        (["inspect", "gone"], "`gone` is expected to be the file or folder of a sparse"),
        (["compose", "--sft", "/gone", "--output", "x"], "`/gone` is expected to be the file or"),
        (["compose", "--sft=here.conllu", "--output", "x"], "`here.conllu` is expected to be a sa"),
        (["overlap", "here.conllu", "/gone", "--json"], "`here.conllu` is expected to be a safe"),
        (["overlap", "/gone", "here.conllu", "--json"], "`/gone` is expected to be the file or"),
        (["compare", "here.conllu", "gone", "--metric", "upos"], "there is no file 'gone'"),
        (["compare", "here.conllu", "here.conllu,gone"], "there is no file 'gone'"),
        (["study", "gone.yaml"], "'gone.yaml' is no file"),
    ],
)
def test_nothing_heavy_is_imported_for_a_mistake(args, message):
    """Judged by an interpreter in which importing torch or Lightning fails."""
    Path("model.yaml").write_text("model:\n  base_model: /gone\n")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'lightning', 'transformers']))\n"
        "from ltsft.cli import main\n"
        f"sys.exit(main({args}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {}
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_inspect_imports_nothing_heavy(tmp_path):
    SparseFineTuning({}, {"head": torch.ones(2)}).save_pretrained(tmp_path)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'lightning', 'transformers']))\n"
        "from ltsft.cli import main\n"
        f"sys.exit(main(['inspect', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 parameters: head [2]" in done.stdout
