"""Each task is learned from a built-in language within seconds, from the command line.

A fit, a test and a prediction by a small model, in the paper's two phases; what ``test`` logs is
what an independent scorer makes of the files that ``predict`` writes. Chance is stated with each
task; with 300 test examples the 95% interval of a share around one half is ± 0.06.
"""

import json
from pathlib import Path

import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as label_f1_score

from ltsft.cli import main
from ltsft.data.artificial import family
from tests.metrics.test_answers import exact, f1
from tests.tiny import save_artificial_base

LANGUAGE = "elmu"
QUIET = [
    "--trainer.enable_progress_bar", "false",
    "--trainer.enable_model_summary", "false",
    "--trainer.enable_checkpointing", "false",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_artificial_base(tmp_path_factory.mktemp("base"))


def run(*arguments: str) -> None:
    assert main([*arguments, *QUIET]) == 0


def learn(
    base: str, options: list[str], limit: int, passes: tuple[int, int], rate: float
) -> dict[str, float]:
    """Fit, test and predict; returns the test scores, predictions lie in ``out/predictions``."""

    def source(limit: int, split: str) -> str:
        return json.dumps(
            {LANGUAGE: {"path": f"artificial:{LANGUAGE}", "limit": limit, "split": split}}
        )

    options = [*options, "--model.base_model", base, "--data.max_length", "96"]
    run(
        "fit", *options, "--model.learning_rate", str(rate), "--data.global_batch_size", "16",
        "--data.train", source(limit, "train"), "--data.validation", source(100, "validation"),
        "--sparse.budget.density", "0.5", "--sparse.dense.max_epochs", str(passes[0]),
        "--sparse.sparse.max_epochs", str(passes[1]), "--trainer.default_root_dir", "fit",
    )  # fmt: skip
    options += ["--model.base_sfts", "[fit]", "--trainer.default_root_dir", "out"]
    run("test", *options, "--data.test", source(300, "test"))
    run("predict", *options, "--data.predict", source(300, "test"))
    scores = json.loads(Path("out/scores.json").read_text())
    return {name.removesuffix(f"/{LANGUAGE}"): value for name, value in scores.items()}


def predictions(suffix: str) -> str:
    return Path(f"out/predictions/{LANGUAGE}.{suffix}").read_text(encoding="utf-8")


def test_parts_of_speech(base: str) -> None:
    """The most frequent tag is right in about one of four words."""
    scores = learn(base, ["--model", "Tagger", "--data", "TaggingData"], 200, (2, 2), 5e-3)
    gold = [tag for s in family(0)[LANGUAGE].sentences(300, "test") for tag in s.tags]
    assert max(map(gold.count, set(gold))) / len(gold) < 0.35
    assert scores["test_accuracy"] > 0.8
    rows = [line.split("\t") for line in predictions("conllu").splitlines() if line[:1].isdigit()]
    assert scores["test_accuracy"] == pytest.approx(accuracy_score(gold, [row[3] for row in rows]))


def test_entities(base: str) -> None:
    """A guess finds no span; predictions are IOB2 that seqeval scores to the logged F1s."""
    options = ["--model", "Tagger", "--model.metric", "span_f1"]
    options += ["--data", "TaggingData", "--data.format", "iob2"]
    scores = learn(base, options, 400, (2, 3), 5e-3)
    assert scores["test_f1"] > 0.5
    sentences = [
        [line.split(" ") for line in sentence.splitlines()]
        for sentence in predictions("iob2").removesuffix("\n\n").split("\n\n")
    ]
    made = family(0)[LANGUAGE].sentences(300, "test")
    assert [[word for word, _ in sentence] for sentence in sentences] == [s.words for s in made]
    gold, guess = [s.entities for s in made], [[tag for _, tag in s] for s in sentences]
    assert scores["test_f1"] == pytest.approx(f1_score(gold, guess), abs=1e-6)
    strict = f1_score(gold, guess, mode="strict", scheme=IOB2)
    assert scores["test_f1_strict"] == pytest.approx(strict, abs=1e-6)


def test_inference(base: str) -> None:
    """Three labels, equally frequent: chance is one in three."""
    options = ["--model", "SentenceClassifier", "--data", "PairData"]
    scores = learn(base, options, 800, (2, 3), 2e-3)
    assert scores["test_accuracy"] > 0.5
    rows = [json.loads(line) for line in predictions("jsonl").splitlines()]
    pairs = family(0)[LANGUAGE].pairs(300, "test")
    assert [(row["premise"], row["hypothesis"]) for row in rows] == [
        (pair.premise, pair.hypothesis) for pair in pairs
    ]
    gold, guess = [pair.label for pair in pairs], [row["label"] for row in rows]
    assert scores["test_accuracy"] == pytest.approx(accuracy_score(gold, guess), abs=1e-6)
    macro = label_f1_score(gold, guess, average="macro")
    assert scores["test_macro_f1"] == pytest.approx(macro, abs=1e-6)
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"][row["label"]] == max(row["probabilities"].values())


def test_single_sentences(base: str) -> None:
    """Which of three languages a sentence is in, from TSV files: chance is one in three.

    The labels are given for the fit only: the fine-tuning brings them to the test.
    """
    languages = list(family(0))[:3]
    for split, num in (("train", 100), ("validation", 20), ("test", 100)):
        rows = [
            f"{text}\t{language}\n"
            for language in languages
            for text in family(0)[language].text(num, split)  # type: ignore[arg-type]
        ]
        Path(f"{split}.tsv").write_text("sentence\tlabel\n" + "".join(rows))
    options = ["--model", "SentenceClassifier", "--model.base_model", base]
    options += ["--data", "PairData", "--data.texts", "[sentence]", "--data.max_length", "96"]
    run(
        "fit", *options, "--data.labels", json.dumps(languages), "--data.global_batch_size", "16",
        "--data.train", "{any: train.tsv}", "--data.validation", "{any: validation.tsv}",
        "--model.learning_rate", "2e-3", "--sparse.budget.density", "0.5",
        "--sparse.dense.max_epochs", "3", "--sparse.sparse.max_epochs", "3",
        "--trainer.default_root_dir", "fit",
    )  # fmt: skip
    run(
        "test", *options, "--model.base_sfts", "[fit]", "--data.test", "{any: test.tsv}",
        "--trainer.default_root_dir", "out",
    )  # fmt: skip
    assert json.loads(Path("out/scores.json").read_text())["test_accuracy/any"] > 0.7


def test_questions(base: str) -> None:
    """Whoever names a phrase without regard to the question is right in one case of three."""
    options = ["--model", "QuestionAnswering", "--data", "QuestionData"]
    options += ["--data.stride", "16", "--data.max_question_length", "32"]
    scores = learn(base, options, 1000, (3, 4), 3e-3)
    assert scores["test_exact_match"] > 0.45
    assert scores["test_f1"] > 0.6
    answers = json.loads(predictions("json"))
    questions = family(0)[LANGUAGE].questions(300, "test")
    assert list(answers) == [f"test-{number}" for number in range(300)]
    pairs = [(answer, q.answer) for answer, q in zip(answers.values(), questions, strict=True)]
    for name, rule in (("f1", f1), ("exact_match", exact)):
        mean = sum(rule(answer, gold) for answer, gold in pairs) / 300
        assert scores[f"test_{name}"] == pytest.approx(mean, abs=1e-6)
