"""The configs that come with ltsft."""

from pathlib import Path

import pytest
import yaml

from ltsft.errors import LtsftError
from ltsft.terminal.configs import names, path_of, with_paths
from tests.documented import ROOT


def test_all_of_them_are_there():
    files = {path.relative_to(ROOT / "configs") for path in ROOT.glob("configs/*/*.yaml")}
    assert set(names()) == {path.with_suffix("").as_posix() for path in files}
    for name in names():
        assert yaml.safe_load(path_of(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["ltsft:task/ner", "task/ner", "ltsft:task/ner.yaml"])
def test_a_config_has_a_name(name):
    assert path_of(name).samefile(ROOT / "configs/task/ner.yaml")


def test_a_wrong_name_is_told_with_a_near_one():
    with pytest.raises(LtsftError, match="'tasks/ner'; did you mean ltsft:task/ner?"):
        path_of("ltsft:tasks/ner")
    with pytest.raises(LtsftError, match="'xyz'; see `ltsft configs`"):
        path_of("ltsft:xyz")


def test_names_become_paths_after_config_only():
    args = ["--config", "ltsft:trainer/cpu", "--model.base_model", "ltsft:trainer/cpu", "-c"]
    assert with_paths([*args, "ltsft:task/pos"]) == [
        *["--config", str(path_of("trainer/cpu")), "--model.base_model", "ltsft:trainer/cpu"],
        *["-c", str(path_of("task/pos"))],
    ]


def test_the_wheel_has_them():
    """`package-data` names the folder, which is a link to the one at the top."""
    assert (ROOT / "ltsft/configs").resolve() == ROOT / "configs"
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"configs/*/*.yaml"' in settings


def test_the_command_lists_shows_and_copies(ltsft):
    listed = ltsft("configs").out.splitlines()
    assert [line.split()[0] for line in listed] == [f"ltsft:{name}" for name in names()]
    assert all(len(line.split()) > 1 for line in listed)
    group = ltsft("configs", "task").out.splitlines()
    of_tasks = [line.split() for line in listed if line.startswith("ltsft:task/")]
    assert [line.split() for line in group] == of_tasks
    shown = ltsft("configs", "ltsft:task/pos").out
    assert shown == path_of("task/pos").read_text(encoding="utf-8")
    ltsft("configs", "task", "system/full", "--copy", "mine")
    copies = {str(path.relative_to("mine")) for path in Path("mine").glob("*/*.yaml")}
    assert copies == {f"task/{p.name}" for p in ROOT.glob("configs/task/*")} | {"system/full.yaml"}
    assert Path("mine/task/pos.yaml").read_text(encoding="utf-8") == shown
    (line,) = ltsft("configs", "task", "--copy", "mine", status=2).err
    assert "`--copy` is expected to be a folder without these configs" in line
    Path("file").write_text("")
    (line,) = ltsft("configs", "task", "--copy", "file/x", status=2).err
    assert "`--copy` is expected to be a folder to write to" in line
