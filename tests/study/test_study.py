"""``ltsft study`` from a config to a table."""

import csv
import fcntl
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from ltsft.data.artificial import family
from ltsft.data.labels import UPOS
from ltsft.sparse import SparseFineTuning
from ltsft.study import workflow
from tests.study.mini import STUDY, write_config

pytestmark = pytest.mark.timeout(900)  # five processes import everything, on a busy machine too

CONDITIONS = {
    "alone": {},
    "source": {"elmu": "alora", "fanto": "alora"},
    "wrong": {"elmu": "fanto", "fanto": "elmu"},
    "target": {"elmu": "elmu", "fanto": "fanto"},
}


def sft(name: str, folder: str = "runs/mini") -> SparseFineTuning:
    return SparseFineTuning.from_pretrained(f"{folder}/{name}")


def commands(folder: str = "runs/mini") -> dict[str, list[str]]:
    """Results folder -> command line."""
    lines = [shlex.split(line) for line in Path(folder, "commands.sh").read_text().splitlines()]
    key = "--trainer.default_root_dir"
    return {words[words.index(key) + 1]: words for words in lines if key in words}


# ------------------------------------------------------------------ from end to end


def test_a_killed_study_goes_on(finished, ltsft, tmp_path):
    """It takes up the killed fit where it was, repeats no stage, and ends with the same bits."""
    assert {"started.json", "checkpoints"} <= finished.left
    assert not {"run.json", "sft"} & finished.left
    assert Path("runs/mini/base/run.json").stat().st_mtime_ns == finished.pretrained
    log = Path("runs/mini/logs/languages-alora.log").read_text()
    assert (
        "Restored all states from the checkpoint at runs/mini/languages/alora/checkpoints/" in log
    )
    assert not Path("runs/mini/languages/alora/started.json").exists()

    _, *command = commands()["runs/mini/languages/alora"]
    ltsft(*command, "--trainer.default_root_dir", str(tmp_path / "at once"))
    assert sft("languages/alora") == sft("at once", str(tmp_path))
    assert "Restored" not in Path("runs/mini/logs/languages-elmu.log").read_text()


def accuracy(target: str, language: str | None) -> float:
    """Score a target's test sentences one by one, with transformers and our `apply` alone."""
    model = AutoModelForTokenClassification.from_pretrained("runs/mini/base", num_labels=len(UPOS))
    tokenizer = AutoTokenizer.from_pretrained("runs/mini/base")
    sft("task").apply(model.eval())
    if language is not None:
        sft(f"languages/{language}").apply(model, whole=False)
    right = total = 0
    for sentence in family(0)[target].sentences(20, "test"):
        tokens = tokenizer(
            sentence.words, is_split_into_words=True, return_tensors="pt", truncation=True,
            max_length=64,
        )  # fmt: skip
        first = [tokens.word_ids().index(word) for word in sorted({*tokens.word_ids()} - {None})]
        with torch.no_grad():
            inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
            best = model(**inputs).logits[0, first].argmax(-1).tolist()
        right += sum(UPOS[id] == tag for id, tag in zip(best, sentence.tags, strict=False))
        total += len(sentence.tags)
    return right / total


def test_the_table_is_right(finished):
    """Every cell, against accuracies counted by hand; and in all three files."""
    expected = {
        target: {
            condition: 100 * accuracy(target, under.get(target))
            for condition, under in CONDITIONS.items()
        }
        for target in ("elmu", "fanto")
    }
    assert len({round(score, 6) for row in expected.values() for score in row.values()}) > 4
    said = json.loads(Path("runs/mini/table/table.json").read_text())
    assert said["metric"] == "test_accuracy"
    assert said["wrong"] == CONDITIONS["wrong"]
    with open("runs/mini/table/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for scores in (said["scores"], rows):
        assert {(row["system"], int(row["seed"])) for row in scores} == {("", 0)}
        found = {(row["target"], row["condition"]): float(row["score"]) for row in scores}
        assert len(scores) == len(found) == 8
        for target, row in expected.items():
            for condition, score in row.items():
                assert found[target, condition] == pytest.approx(score)

    lines = Path("runs/mini/table/table.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert cells[0] == ["target", "task SFT alone", "+ alora", "+ wrong", "+ target's"]
    assert cells[2:4] == [
        [target, *(f"{row[condition]:.1f}" for condition in CONDITIONS)]
        for target, row in expected.items()
    ]
    means = [(expected["elmu"][c] + expected["fanto"][c]) / 2 for c in CONDITIONS]
    assert cells[4] == ["mean", *(f"{mean:.1f}" for mean in means)]
    assert lines[-1] == "accuracy in percent; wrong: fanto for elmu, elmu for fanto"


def test_the_task_was_trained_over_the_source(finished):
    assert sft("task").metadata.trained_with == ["runs/mini/languages/alora/sft"]
    assert sft("languages/elmu").metadata.trained_with == []
    assert sft("languages/elmu").metadata.language == "elmu"


# ------------------------------------------------------------------ what is done


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "commands.sh"
    }


def test_a_second_run_does_nothing(finished, ltsft, monkeypatch):
    monkeypatch.setattr(workflow, "_execute", None)
    before = contents(finished.folder)
    out, err = ltsft("study", "mini.yaml")
    assert out.startswith("0 of 10 runs to do")
    assert Path("runs/mini/table/table.md").read_text() in out
    assert err == []
    assert contents(finished.folder) == before


def to_do(ltsft, *args: str) -> list[str]:
    """Stages and names of the runs that are to do, of a study whose results are in runs/mini."""
    out, err = ltsft("study", "mini.yaml", "--output", "runs/mini", *args, "--dry-run")
    assert err == []
    said = re.findall(r"^# (\w+): (\w+) \((done|to do)\)$", out, re.MULTILINE)
    assert len(said) == 10
    return [f"{stage} {name}" for stage, name, state in said if state == "to do"]


LANGUAGES = ["languages alora", "languages elmu", "languages fanto"]
TESTS = ["test alone", "test source", "test wrong", "test target"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], []),
        (["--jobs", "2"], []),
        (["--test", '{path: "artificial:{language}", limit: 19}'], [*TESTS, "table table"]),
        (
            ["--task_fit.options.model.init_args.learning_rate", "0.5"],
            ["task task", *TESTS, "table table"],
        ),
        (
            ["--text", '{alora: "artificial:alora", elmu: {path: "artificial:elmu", limit: 30}, '
             'fanto: {path: "artificial:fanto", limit: 30}}'],
            # The source's text is another: so is the task SFT, which was trained over it.
            ["languages alora", "task task", *TESTS, "table table"],
        ),
        (
            ["--language_fit.options.sparse.budget.density", "0.2"],
            [*LANGUAGES, "task task", *TESTS, "table table"],
        ),
        (
            ["--pretrain.max_steps", "4"],
            ["pretrain base", *LANGUAGES, "task task", *TESTS, "table table"],
        ),
    ],
    ids=["nothing", "jobs", "test data", "task", "source", "languages", "base"],
)  # fmt: skip
def test_only_what_depends_on_a_change_runs_again(finished, ltsft, args, expected):
    before = contents(finished.folder)
    assert to_do(ltsft, *args) == expected
    assert contents(finished.folder) == before


def test_a_lost_result_is_made_again(copy, ltsft):
    """By Snakemake itself, although what depends on it is still there."""
    lost = Path("runs/mini/test/wrong/scores.json")
    before = lost.read_bytes()
    lost.unlink()
    assert to_do(ltsft) == ["test wrong"]
    assert ltsft("study", "mini.yaml").out.startswith("1 of 10 runs to do")
    assert lost.read_bytes() == before


def test_predictions_of_each_test(copy, ltsft, in_this_process):
    """They are what was scored; what was done before stays done."""
    out, _ = ltsft("study", "mini.yaml", "--predict", "true")
    assert out.startswith("4 of 14 runs to do")
    for target in ("elmu", "fanto"):
        gold = [tag for s in family(0)[target].sentences(20, "test") for tag in s.tags]
        for condition in CONDITIONS:
            path = Path(f"runs/mini/predict/{condition}/predictions/{target}.conllu")
            words = [line.split("\t") for line in path.read_text().splitlines() if "\t" in line]
            scores = json.loads(Path(f"runs/mini/test/{condition}/scores.json").read_text())
            right = sum(word[3] == tag for word, tag in zip(words, gold, strict=True))
            assert right / len(gold) == pytest.approx(scores[f"test_accuracy/{target}"])


def test_the_seed_of_a_run_in_options(ltsft):
    """`{seed}` is the seed of each run: here the languages share one, the task has two."""
    options = {"sparse.selection": {"class_path": "Random", "init_args": {"seed": "1{seed}"}}}
    changes = {"seed": 4, "seeds": [5, 6], "vary": "task", "systems": {"drawn": {}, "other": {}}}
    for fit in ("language_fit", "task_fit"):
        changes[fit] = {"options": STUDY[fit]["options"] | options}
    Path("study.yaml").write_text(json.dumps(STUDY | changes))
    out, _ = ltsft("study", "study.yaml", "--dry-run")
    draws = {
        stage: set(re.findall(rf"# {stage}: .*\n.*\"seed\": \"(\w+)\"", out))
        for stage in ("languages", "task", "test")
    }
    assert draws == {"languages": {"14"}, "task": {"15", "16"}, "test": {"15", "16"}}


def test_files_that_a_run_reads_count(copy, ltsft):
    """A config in `configs` that is changed, or a data file, makes what reads it run again."""
    Path("more.yaml").write_text("sparse: {sparse: {l1: 0.1}}")
    args = ["--task_fit.configs", "[more.yaml]"]
    assert ltsft("study", "mini.yaml", *args, "--dry-run").out.count("--config more.yaml") == 5
    first = to_do(ltsft, *args)
    assert "task task" in first
    keys = [run.key for run in plan_of(*args)]
    Path("more.yaml").write_text("sparse: {sparse: {l1: 0.25}}")
    changed = [run.stage for run, key in zip(plan_of(*args), keys, strict=True) if run.key != key]
    assert changed == ["task", "test", "test", "test", "test", "table"]


def plan_of(*args: str):
    from ltsft.commands.study import make_parser, make_study
    from ltsft.study.plan import make_plan

    parser = make_parser()
    return make_plan(make_study(parser, parser.parse_args(["--config", "mini.yaml", *args])), "out")


def test_several_jobs_share_the_languages(finished, ltsft, in_this_process, tmp_path, monkeypatch):
    """Another division, the same results."""
    monkeypatch.chdir(tmp_path)
    out, _ = ltsft("study", write_config(), "--jobs", "2")
    names = {path.name for path in Path("runs/mini/stages").glob("languages*.json")}
    assert names == {"languages-1.json", "languages-2.json"}
    for name in ("languages/alora", "languages/elmu", "languages/fanto", "task"):
        assert sft(name) == sft(name, str(finished.folder / "runs/mini"))
    assert (finished.folder / "runs/mini/table/table.md").read_text() in out


# ------------------------------------------------------------------ what goes wrong


def test_a_run_that_fails_is_one_line(copy, ltsft, in_this_process):
    """It names the run, the reason and the log; what was done stays done."""
    options = STUDY["task_fit"]["options"]
    Path("wrong.yaml").write_text(
        json.dumps(
            STUDY
            | {
                "output": "runs/mini",
                "task_fit": {"options": options | {"sparse.budget.density": 1.5}},
            }
        )
    )
    out, err = ltsft("study", "wrong.yaml", status=2)
    assert out.startswith("6 of 10 runs to do")
    assert err == [
        "ltsft study: task: task failed: ltsft fit: `sparse.budget.density` is expected to be "
        "above 0 and at most 1 (a share of the maskable entries), but got 1.5. "
        "(log: runs/mini/logs/task-task.log)"
    ]
    log = Path("runs/mini/logs/task-task.log").read_text()
    assert log.startswith("$ ltsft fit ")
    assert "at most 1" in log
    assert to_do(ltsft)[0] == "task task"
    # The tests of before were of this very fine-tuning, which comes out the same again.
    assert ltsft("study", "mini.yaml").out.startswith("1 of 10 runs to do")


def test_a_bug_in_a_run_shows_its_traceback(copy, ltsft, in_this_process):
    crash = '[{"class_path": "tests.study.mini.Crash"}]'
    _, err = ltsft("study", "mini.yaml", "--task_fit.options.trainer.callbacks", crash, status=2)
    assert err[-1] == (
        "ltsft study: task: task failed: RuntimeError: a bug (log: runs/mini/logs/task-task.log)"
    )
    assert any("mini.py" in line for line in err)


def test_snakemake_stops_at_the_first_failure(ltsft):
    """In a process of its own, of a stage that needs no long imports."""
    _, err = ltsft("study", write_config(), "--pretrain.vocab_size", "5", status=2)
    assert len(err) == 1
    assert err[0].startswith("ltsft study: pretrain: base failed: `vocab_size` is expected to be")
    assert err[0].endswith("(log: runs/mini/logs/pretrain-base.log)")
    assert not Path("runs/mini/base/model.safetensors").exists()
    assert not Path("runs/mini/languages").exists()


def test_pretraining_leaves_progress_bars_as_they_were(tmp_path):
    """It may share its process with other commands, in a notebook for one."""
    from transformers.utils import logging

    from ltsft.study.pretrain import main as pretrain

    args = ["--output", str(tmp_path / "base"), "--languages", "[alora]", "--num_sentences", "30"]
    args += ["--max_steps", "3", "--batch_size", "4", "--hidden_size", "16", "--num_layers", "1"]
    assert logging.is_progress_bar_enabled()
    assert pretrain(args) == 0
    assert logging.is_progress_bar_enabled()


def test_one_study_at_a_time(copy, ltsft):
    Path("runs/mini/test/wrong/scores.json").unlink()
    with open("runs/mini/.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _, err = ltsft("study", "mini.yaml", status=2)
    assert err == [
        "ltsft study: another study is running in `runs/mini`; wait for it, or set another "
        "`output`."
    ]


def test_an_executor_that_is_not_installed(ltsft):
    _, (line,) = ltsft("study", write_config(), "--executor", "abacus", status=2)
    assert "`--executor` is expected to be `local` or the name of an installed Snakemake" in line


DISCIPLINE = {
    "training data": (
        {"train": {"alora": "artificial:alora", "elmu": "artificial:elmu"}},
        "`train` is expected to have no labelled data of the target elmu .* set `few_shot: true`",
    ),
    "validation data": (
        {"validation": {"alora": "artificial:alora", "fanto": "dev.conllu"}},
        "`validation` is expected to have no labelled data of the target fanto",
    ),
    "under the source's name": (
        {"validation": {"alora": {"path": "artificial:elmu", "split": "validation"}}},
        "`validation` is expected to have no labelled data of the target elmu",
    ),
    "the same file by another path": (
        {
            "test": {"elmu": "a.conllu", "fanto": "b.conllu"},
            "train": {"alora": "./x/../b.conllu"},
        },
        "`train` is expected to have no labelled data of the target fanto",
    ),
}


@pytest.mark.parametrize("case", DISCIPLINE)
def test_labelled_data_of_targets_may_only_be_tested_on(case, ltsft):
    changes, message = DISCIPLINE[case]
    Path("x").mkdir()
    for name in ("a.conllu", "b.conllu", "dev.conllu"):
        Path(name).touch()
    Path("study.yaml").write_text(json.dumps(STUDY | changes))
    _, err = ltsft("study", "study.yaml", status=2)
    assert len(err) == 1
    assert re.search(message, err[0])
    assert not Path("runs").exists()
    out, _ = ltsft("study", "study.yaml", "--few_shot", "true", "--dry-run")
    (role,) = changes.keys() - {"test"}
    said = changes[role]["alora"]
    assert (said if isinstance(said, str) else said["path"]) in out


def test_one_data_set_with_a_config_per_language_is_no_leak(ltsft):
    """As on the hub: the path is one, the languages are told apart by the config."""
    table = {"path": "someone/treebanks"}
    changes = {
        "train": table | {"config": "alora"},
        "test": {"elmu": table | {"config": "elmu"}, "fanto": table | {"config": "fanto"}},
    }
    Path("study.yaml").write_text(json.dumps(STUDY | changes))
    ltsft("study", "study.yaml", "--dry-run")
    changes["train"]["config"] = "fanto"
    Path("study.yaml").write_text(json.dumps(STUDY | changes))
    _, (line,) = ltsft("study", "study.yaml", "--dry-run", status=2)
    assert "no labelled data of the target fanto" in line


def test_a_plan_says_what_is_missing(ltsft):
    """And is printed all the same."""
    args = ("--test", "test-{language}.conllu", "--dry-run")
    out, (line,) = ltsft("study", write_config(), *args)
    assert "# test: " in out
    assert line.startswith("warning: `test.elmu` is expected to be where data is")


@pytest.mark.parametrize("key", ["data.train", "data.init_args.validation", "data.train.alora"])
def test_options_do_not_get_around_the_discipline(key, ltsft):
    value = "{elmu: a.conllu}"
    _, (line,) = ltsft("study", write_config(), f"--task_fit.options.{key}", value, status=2)
    assert f"`task_fit.options` is expected to leave data alone, but sets `{key}`" in line


MISTAKES = {
    "no config": ([], "`ltsft study` is expected to get a config, but got nothing"),
    "no such config": (
        ["nothing.yaml"],
        "`--config` is expected to be a YAML file.*'nothing.yaml' is no file",
    ),
    "unknown option": (["mini.yaml", "--speed", "9"], "`speed` is no option"),
    "unknown key": (["mini.yaml", "--pretrain.speed", "9"], "`pretrain.speed` is no option; check"),
    "wrong type": (["mini.yaml", "--jobs", "many"], "`jobs` is expected to be int, but got many"),
    "no jobs": (["mini.yaml", "--jobs", "0"], "`jobs` is expected to be 1 or more, but got 0"),
    "no value": (
        ["mini.yaml", "--task_fit.options.sparse.l1"],
        "`--task_fit.options.sparse.l1` is expected to be followed by a value",
    ),
    "two bases": (["mini.yaml", "--base_model", "x"], "`base_model` or `pretrain`, but got both"),
    "no base": (
        ["mini.yaml", "--pretrain", "null"],
        "either `base_model` or `pretrain`, but got neither",
    ),
    "source among targets": (
        ["mini.yaml", "--targets", "[alora]"],
        "`targets` is expected to list different languages, at least one, without the source alora",
    ),
    "no target": (["mini.yaml", "--targets", "[]"], "at least one.*but got none"),
    "one text for all": (
        ["mini.yaml", "--text", "text.txt"],
        r"`text` is expected to have a path with `\{language\}` in it.*for 3 languages",
    ),
    "no source": (["mini.yaml", "--text", "{elmu: 3}"], "has none of alora, fanto"),
    "a number for a source": (
        ["mini.yaml", "--train", "{alora: 3}"],
        "`train` is expected to be a path, a source with some of the keys `path`, .*but got 3",
    ),
    "unknown key of a source": (
        ["mini.yaml", "--train", "{path: a.conllu, lines: 3}"],
        "`train` is expected to be a path, a source .*but got {'path': 'a.conllu', 'lines': 3}",
    ),
    "wrong type in a source": (
        ["mini.yaml", "--test", '{path: "artificial:{language}", limit: many}'],
        "`test` is expected to be a path, a source .*'limit': 'many'",
    ),
    "a text that is not there": (
        ["mini.yaml", "--text", "{alora: artificial:alora, elmu: e.txt, fanto: artificial:fanto}"],
        "`text.elmu` is expected to be where data is, but 'e.txt' is neither a file",
    ),
    "a test that is not there": (
        ["mini.yaml", "--test", "test-{language}.conllu"],
        "`test.elmu` is expected to be where data is, but 'test-elmu.conllu' is neither a file",
    ),
    "a language without text": (
        ["mini.yaml", "--text", '{alora: a.txt, elmu: "b.txt"}'],
        "`text` is expected to have data of alora, elmu, fanto, but has none of fanto",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case, ltsft):
    """One line each, and nothing is written."""
    args, message = MISTAKES[case]
    write_config()
    _, err = ltsft("study", *args, status=2)
    assert len(err) == 1
    assert re.search(message, err[0]), err
    assert [path.name for path in Path().iterdir()] == ["mini.yaml"]


def test_yaml_that_cannot_be_read(ltsft):
    Path("study.yaml").write_text("source: [alora\ntargets: elmu]")
    _, (line,) = ltsft("study", "study.yaml", status=2)
    assert line.startswith(
        "ltsft study: study.yaml, line 2: the config is expected to be YAML, but"
    )


# ------------------------------------------------------------------ by content


def test_a_copied_study_is_the_same(copy, ltsft):
    """By another path to it, too."""
    shutil.move("runs/mini", "elsewhere")
    out, _ = ltsft("study", "mini.yaml", "--output", str(Path("elsewhere").absolute()))
    assert out.startswith("0 of 10 runs to do")


def test_what_is_made_anew_is_said(copy, ltsft, in_this_process):
    shorter = '{path: "artificial:{language}", limit: 19}'
    out, _ = ltsft("study", "mini.yaml", "--test", shorter)
    assert "Made anew, as what they are made from has changed: test alone, test source" in out


@pytest.mark.parametrize("content", ["", '{"key": "ab', "[]"])
def test_a_cut_stamp_is_a_run_to_do_again(copy, ltsft, content):
    Path("runs/mini/test/wrong/run.json").write_text(content)
    assert to_do(ltsft) == ["test wrong"]


def test_nothing_is_imported_from_the_folder_of_results(copy, ltsft, monkeypatch, tmp_path):
    """Nor does any character in the interpreter's path matter, nor in that of the folder."""
    folder = tmp_path / "a 'b' {c}"
    folder.mkdir()
    interpreter = folder / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    shutil.move("runs/mini", folder / "out")
    for name in ("yaml.py", "torch.py", "ltsft.py"):
        (folder / "out" / name).write_text("raise SystemExit('imported')\n")
    (folder / "out/test/wrong/scores.json").unlink()
    out, _ = ltsft("study", "mini.yaml", "--output", str(folder / "out"))
    assert out.startswith("1 of 10 runs to do")
    assert (folder / "out/test/wrong/scores.json").is_file()


@pytest.mark.parametrize("language", ["../x", "-x", "a/b", "a\nb", ".x", ""])
def test_a_language_is_no_path(ltsft, language):
    Path("study.yaml").write_text(json.dumps(STUDY | {"targets": ["elmu", language]}))
    _, (line,) = ltsft("study", "study.yaml", "--dry-run", status=2)
    assert "`targets` is expected to have codes of languages" in line
