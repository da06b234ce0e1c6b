"""``ltsft overlap``: what it says equals sets of positions, counted one by one."""

import json
import sys
from itertools import combinations
from pathlib import Path

import pytest
from safetensors import safe_open

from ltsft.commands.overlap import heat_map
from ltsft.sparse import SparseFineTuning, overlap


def positions(folder: str) -> set[tuple[str, int]]:
    with safe_open(f"{folder}/sft/sft.safetensors", "pt") as file:
        return {
            (key, position)
            for key in file.keys()  # noqa: SIM118
            if key.startswith("indices/")
            for position in file.get_tensor(key).tolist()
        }


@pytest.fixture
def folders(trained) -> list[str]:
    return [*trained.languages.values(), trained.task]


def test_json(folders, ltsft):
    out, err = ltsft("overlap", *folders, "--json")
    assert err == []
    said = json.loads(out)
    chosen = {Path(folder).name: positions(folder) for folder in folders}
    assert [(s["a"], s["b"]) for s in said] == list(combinations(chosen, 2))
    for pair in said:
        a, b = chosen[pair["a"]], chosen[pair["b"]]
        assert pair["intersection"] == len(a & b) > 0
        assert pair["smaller"] == min(len(a), len(b))
        assert pair["ratio"] == len(a & b) / min(len(a), len(b))
        assert pair["chance"] == pytest.approx(0.1, abs=1e-3)  # K of N, density 0.1


def test_text(folders, ltsft):
    out, _ = ltsft("overlap", *folders)
    chosen = {Path(folder).name: positions(folder) for folder in folders}
    header, _, *rows = out.splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "pair", "in both", "in the smaller", "overlap", "by chance",
    ]  # fmt: skip
    for (a, b), row in zip(combinations(chosen, 2), rows, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        both = len(chosen[a] & chosen[b])
        smaller = min(len(chosen[a]), len(chosen[b]))
        assert cells[:4] == [f"{a}, {b}", f"{both:,}", f"{smaller:,}", f"{both / smaller:.2%}"]


def test_the_plot_shows_the_ratios(folders):
    sfts = [SparseFineTuning.from_pretrained(folder) for folder in folders]
    pairs = {(a, b): overlap(sfts[a], sfts[b]) for a, b in combinations(range(3), 2)}
    _, axes = heat_map(["aa", "bb", "task"], pairs)
    (image,) = axes.images
    matrix = image.get_array()
    for row in range(3):
        for column in range(3):
            pair = pairs.get((row, column)) or pairs.get((column, row))
            assert matrix[row][column] == (pair.ratio if pair else 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["aa", "bb", "task"]
    assert axes.get_title() == "chance: 0.10"


@pytest.mark.parametrize(("name", "magic"), [("a/b.png", b"\x89PNG"), ("c.pdf", b"%PDF")])
def test_the_plots_format_is_that_of_its_name(folders, ltsft, name, magic):
    out, err = ltsft("overlap", *folders, "--plot", name)
    assert err == []
    assert out.splitlines()[-1] == f"Wrote {name}."
    assert Path(name).read_bytes().startswith(magic)
    assert [path.name for path in Path(name).parent.iterdir()] == [Path(name).name]


def test_mistakes(folders, ltsft, monkeypatch):
    _, (line,) = ltsft("overlap", folders[0], status=2)
    assert "expected to get two SFTs or more, but got one" in line
    _, (line,) = ltsft("overlap", *folders, "--plot", "a.docx", status=2)
    assert "`--plot` is expected to end in one of " in line
    assert line.endswith("but got a.docx.")
    _, (line,) = ltsft("overlap", folders[0], "missing", status=2)
    assert "`missing` is expected to be the file or folder of a sparse fine-tuning" in line
    Path("file").write_text("")
    _, (line,) = ltsft("overlap", *folders, "--plot", "file/a.png", status=2)
    assert "`--plot` cannot be written" in line
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    _, (line,) = ltsft("overlap", *folders, "--plot", "a.png", status=2)
    assert line == (
        "ltsft overlap: `--plot` needs matplotlib, which is not installed; "
        "`pip install 'ltsft[plot]'`."
    )
