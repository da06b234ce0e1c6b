"""What makes a run another one, and what does not."""

import os
import shutil
from pathlib import Path

import pytest

from ltsft.study.command_line import option
from ltsft.study.key import key_of


@pytest.fixture
def key():
    """The key of a fit over files, as it is now; some of its parts may be others."""
    Path("base").mkdir()
    Path("base/model.safetensors").write_bytes(b"weights")
    Path("base/config.json").write_text("{}")
    Path("hsb.txt").write_text("some text")
    Path("a.yaml").write_text("x: 1")
    Path("b.yaml").write_text("x: 2")

    def make(base="base", text="hsb.txt", configs=("a.yaml", "b.yaml"), output="out", needs=(),
             turned=False):  # fmt: skip
        words = [
            option("model.init_args.base_model", base),
            option("data.init_args.text", {"hsb": text}),
            option("data.init_args.language", "hsb"),
            option("model.init_args.base_sfts", [f"{output}/languages/en/sft"]),
            ["--trainer.default_root_dir", f"{output}/languages/hsb"],
        ]
        words = words[::-1] if turned else words
        command = ["ltsft", "fit", *(part for config in configs for part in ("--config", config))]
        return key_of([*command, *(word for part in words for word in part)], output, list(needs))

    return make


def test_the_same_by_other_names(key, tmp_path):
    """Another path, a copy, another output folder, another order of options."""
    before = key()
    Path("link").symlink_to("base")
    shutil.copytree("base", "copy")
    assert key(base="./base") == key(base=str(tmp_path / "base")) == before
    assert key(base="link") == key(base="copy") == before
    assert key(text="./hsb.txt") == before
    assert key(output="elsewhere/runs") == before
    assert key(turned=True) == before


def test_a_language_that_is_called_like_a_folder_is_a_language(key):
    before = key()
    Path("hsb").mkdir()
    Path("hsb/x").write_text("x")
    assert key() == before


@pytest.mark.parametrize("path", ["base/model.safetensors", "hsb.txt", "b.yaml"])
def test_another_content_in_place(key, path):
    """Its size and its time are kept."""
    before, status = key(), Path(path).stat()
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-1] + b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Path(path).stat().st_size == status.st_size
    assert key() != before
    Path(path).write_bytes(content)
    assert key() == before


def test_what_else_makes_another(key):
    before = key()
    assert key(configs=("b.yaml", "a.yaml")) != before
    assert key(needs=["x"]) != before
    Path("base/new.json").write_text("{}")
    assert key() != before


def test_the_last_of_an_option_counts():
    words = [[*option("a", 1), *option("a", 2)], option("a", 2), option("a", 1)]
    keys = [key_of(["ltsft", "test", *part], "out", []) for part in words]
    assert keys[0] == keys[1] != keys[2]
