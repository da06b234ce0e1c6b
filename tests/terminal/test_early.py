"""Mistakes that show before anything heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ltsft.errors import LtsftError
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
    ],
)
def test_what_may_be_there_is_left_to_others(command, args):
    check(command, [*BASE, *args])


def test_nothing_heavy_is_imported_for_a_mistake():
    """Judged by an interpreter in which importing torch or Lightning fails."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'lightning', 'transformers']))\n"
        "from ltsft.cli import main\n"
        "sys.exit(main(['fit', '--config', 'ltsft:task/pos', '--data.train', '{en: b.conllu}']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {}
    )
    assert done.returncode == 2
    assert "'b.conllu' is neither a file" in done.stderr
    assert len(done.stderr.splitlines()) == 1
