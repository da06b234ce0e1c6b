"""The table that is made of several tests' scores."""

import json
import shutil
from pathlib import Path
from statistics import stdev

import pytest

from ltsft.errors import LtsftError
from ltsft.sparse import SparseFineTuning
from ltsft.study.plan import languages_under
from ltsft.study.table import as_csv, as_markdown, collect, main

SCORES = {
    "alone": {"test_loss/mt": 9.0, "test_f1/mt": 0.5, "test_f1_strict/mt": 0.1},
    "source": {"test_loss/mt": 9.0, "test_f1/mt": 0.25, "test_f1_strict/mt": 0.1},
    "target": {"test_loss/mt": 9.0, "test_f1/mt": 0.75, "test_f1_strict/mt": 0.1},
}


WHOLE = f"{16 * 16 + 16 + 65:,} / {17 * 17:,}"
"""Transform and output bias of the tiny language model's head, and the tagger's linear layer."""


@pytest.fixture
def case(trained):
    """Makes one case of tests with given scores, whose fits are those of the tiny model."""

    def make(scores, system="", seed=0):
        folders = {}
        for condition, said in scores.items():
            folder = Path(f"out/{system}{seed}/test", condition)
            folder.mkdir(parents=True)
            (folder / "scores.json").write_text(json.dumps(said))
            folders[condition] = str(folder)
        fits = {"languages": ["fits/aa", "fits/bb"], "task": "fits/task"}
        return {"system": system, "seed": seed, "tests": folders, **fits}

    for fit, folder in {**trained.languages, "task": trained.task}.items():
        shutil.copytree(Path(folder, "sft"), Path("fits", fit, "sft"))
        Path("fits", fit, "run.json").write_text(json.dumps({"seconds": 60.0}))
    return make


def test_the_main_score_is_the_first_that_is_no_loss(case):
    result = collect([case(SCORES)], "en", ["mt"])
    assert result.metric == "test_f1"
    assert result.scores == {
        ("", 0, "alone", "mt"): 50.0,
        ("", 0, "source", "mt"): 25.0,
        ("", 0, "target", "mt"): 75.0,
    }


def test_one_target_has_no_wrong_language(case):
    result = collect([case(SCORES)], "en", ["mt"])
    assert languages_under("wrong", "en", ["mt"]) is None
    assert "wrong" not in as_markdown(result)
    assert as_csv(result) == (
        "system,seed,condition,target,score\n"
        ",0,alone,mt,50.0\n,0,source,mt,25.0\n,0,target,mt,75.0\n"
    )


def test_the_wrong_language_is_the_next_target():
    assert languages_under("wrong", "en", ["a", "b", "c"]) == {"a": "b", "b": "c", "c": "a"}


def test_several_systems_and_seeds(case):
    """A row per system, mean and standard deviation over seeds, computed by hand."""
    cases = []
    for system, add in (("ours", 0.0), ("theirs", 0.1)):
        for seed, more in ((1, 0.0), (2, 0.08)):
            shifted = {
                condition: {"test_f1/mt": said["test_f1/mt"] + add + more}
                for condition, said in SCORES.items()
            }
            cases.append(case(shifted, system, seed))
    text = as_markdown(collect(cases, "en", ["mt"]))
    assert "wrong" not in as_markdown(collect([case(SCORES)], "en", ["mt", "mt"]))
    spread = f"{stdev([0.0, 8.0]):.1f}"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    for name, mean in (
        ("ours", 79.0), ("theirs", 89.0), ("ours, task only", 54.0), ("theirs, task only", 64.0)
    ):  # fmt: skip
        assert [name, *[f"{mean} ± {spread}"] * 2] in rows  # of the target, and over all
    assert "mean ± standard deviation over 2 seeds" in text
    assert ["ours, with en", *[f"{29:.1f} ± {spread}"] * 2] in rows
    # K and the heads of both fits, two phases of two steps, two languages of a minute and a task.
    assert ["ours", "598 / 598", WHOLE, "4 / 4", "2.0 / 1.0"] in rows


def test_steps_are_means_where_fits_end_early(case):
    """Over languages: one of the two took 10 steps more."""
    cases = [case(SCORES, system) for system in ("ours", "theirs")]
    sft = SparseFineTuning.from_pretrained("fits/bb")
    sft.metadata.phases["dense"]["steps"] += 10
    sft.save_pretrained("fits/bb/sft")
    text = as_markdown(collect(cases, "en", ["mt"]))
    assert text.count(" 9 / 4 |") == 2


@pytest.mark.parametrize("condition", SCORES)
def test_systems_under_one_condition(case, condition):
    """A study may test under any of them alone."""
    cases = [case({condition: SCORES[condition]}, system) for system in ("ours", "theirs")]
    lines = as_markdown(collect(cases, "en", ["mt"])).splitlines()
    score = f"{100 * SCORES[condition]['test_f1/mt']:.1f}"
    assert [line.split("|")[2].strip() for line in lines[2:4]] == [score, score]


def test_from_files(case):
    cases = json.dumps([case(SCORES)])
    assert main(["out", "--source", "en", "--targets", "mt", "--cases", cases]) == 0
    assert {path.name for path in Path("out/table").iterdir()} == {
        "table.md", "table.csv", "table.json",
    }  # fmt: skip


def test_a_missing_score_is_named(case):
    scores = {**SCORES, "source": {"test_loss/mt": 9.0}}
    with pytest.raises(LtsftError, match="scored `test_f1/mt` each, but .*source.* has not"):
        collect([case(scores)], "en", ["mt"])
    with pytest.raises(LtsftError, match="logged a score per language, but have none"):
        collect([case({"alone": {"test_loss/mt": 1.0}}, seed=1)], "en", ["mt"])
