"""``ltsft compare`` on files as ``ltsft predict`` writes them."""

import json

import pytest
from seqeval.metrics import f1_score

from ltsft.cli import main


def conllu(*sentences):
    """Words as ``form/UPOS/head/relation``."""
    return "".join(
        "".join(
            "\t".join([str(n), form, "_", upos, "_", "_", head, relation, "_", "_"]) + "\n"
            for n, (form, upos, head, relation) in enumerate(
                (word.split("/") for word in sentence.split()), start=1
            )
        )
        + "\n"
        for sentence in sentences
    )


@pytest.fixture
def files(tmp_path):
    """Gold, a first system with two wrong relations and a wrong tag, and a second that is right."""
    gold = ["a/NOUN/2/nsubj b/VERB/0/root", "c/X/0/root d/X/1/dep e/X/1/dep"]
    first = ["a/NOUN/2/obj b/NOUN/0/root", "c/X/0/root d/X/1/dep e/X/2/dep"]
    for name, sentences in (("gold", gold), ("one", first), ("two", gold)):
        (tmp_path / f"{name}.conllu").write_text(conllu(*sentences))
    return [str(tmp_path / f"{name}.conllu") for name in ("gold", "one", "two")]


@pytest.mark.parametrize(("metric", "score"), [("upos", 4 / 5), ("uas", 4 / 5), ("las", 3 / 5)])
def test_scores_and_difference(files, capsys, metric, score):
    assert main(["compare", *files, "--metric", metric, "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert one["value"] == pytest.approx(score)
    assert one["low"] <= one["value"] <= one["high"]
    assert two["value"] == 1
    assert two["difference"]["value"] == pytest.approx(1 - score)
    assert main(["compare", *files, "--metric", metric]) == 0
    table = capsys.readouterr().out
    assert f" {100 * score:.1f} |" in table
    assert f"{100 - 100 * score:+.1f} [" in table


def test_entities_as_seqeval_counts_them(tmp_path, capsys):
    """Stray I- tags too."""
    gold = [["B-PER", "I-PER", "O"], ["I-LOC", "O", "B-ORG"]]
    predicted = [["B-PER", "I-PER", "B-LOC"], ["I-LOC", "I-LOC", "B-ORG"]]
    for name, tags in (("gold", gold), ("one", predicted)):
        lines = ("".join(f"w{i} {tag}\n" for i, tag in enumerate(row)) + "\n" for row in tags)
        (tmp_path / name).write_text("".join(lines))
    paths = [str(tmp_path / "gold"), str(tmp_path / "one")]
    assert main(["compare", *paths, "--metric", "span-f1", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["value"] == pytest.approx(f1_score(gold, predicted))


def write_tags(path, rows):
    lines = ("".join(f"w{i} {tag}\n" for i, tag in enumerate(row)) + "\n" for row in rows)
    path.write_text("".join(lines))
    return str(path)


def test_a_tag_map_as_in_the_fit(tmp_path, capsys):
    """What was left out of the training data does not count as missed; and what does is told."""
    gold = write_tags(tmp_path / "gold", [["B-PER", "B-DATE", "I-DATE"], ["B-DATE", "B-NO", "O"]])
    one = write_tags(tmp_path / "one", [["B-PER", "O", "O"], ["O", "B-PER", "O"]])
    command = ["compare", gold, one, "--metric", "span-f1", "--json"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["value"] == pytest.approx(2 * 1 / (2 + 4))
    assert "gold has 2 DATE, 1 NO, which no system predicts" in said.err
    assert main([*command, "--tag-map", "{DATE: O, NO: PER}"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["value"] == 1
    assert "no system predicts" not in said.err


def test_labels_of_pairs(tmp_path, capsys):
    """Gold labels from TSV, predictions as `predict` writes them; no score without a gold label."""
    pairs = [("a", "b", "neutral"), ("c", "d", "entailment"), ("e", "f", "-")]
    rows = ["premise\thypothesis\tlabel", *("\t".join(pair) for pair in pairs)]
    (tmp_path / "gold.tsv").write_text("\n".join(rows) + "\n")
    lines = [
        json.dumps({"premise": p, "hypothesis": h, "label": "neutral", "probabilities": {}}) + "\n"
        for p, h, _ in pairs
    ]
    (tmp_path / "one.jsonl").write_text("".join(lines))
    paths = [str(tmp_path / "gold.tsv"), str(tmp_path / "one.jsonl")]
    assert main(["compare", *paths, "--metric", "accuracy", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["value"] == 0.5


def test_files_of_other_sentences(files, tmp_path, capsys):
    (tmp_path / "other").write_text(conllu("a/X/0/root"))
    (tmp_path / "short").write_text(conllu("a/NOUN/2/nsubj b/VERB/0/root"))
    for name, message in (
        ("other", "expected to have the words of"),
        ("short", "expected to have the 2 sentences of"),
    ):
        assert main(["compare", files[0], str(tmp_path / name), "--metric", "upos"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_accuracy_of_entities_leads_to_their_score(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Ada B-PER\n")
    path = str(tmp_path / "a.txt")
    assert main(["compare", path, path, "--metric", "accuracy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "`--metric` is expected to be span-f1 for entities in a file like" in line


def test_several_seeds_and_a_limit(files, capsys):
    """`FILE,FILE` is scored by its mean; a limit is that of `predict`, so sentences agree."""
    gold, one, two = files
    assert main(["compare", gold, f"{one},{two}", two, "--metric", "upos", "--json"]) == 0
    both, second = json.loads(capsys.readouterr().out)
    assert both["value"] == pytest.approx((4 / 5 + 1) / 2)
    assert second["difference"]["value"] == pytest.approx(1 / 10)

    with open(one, encoding="utf-8") as file:
        text = file.read()
    with open(one, "w", encoding="utf-8") as file:
        file.write(text.split("\n\n")[0] + "\n\n")
    assert main(["compare", gold, one, "--metric", "upos", "--limit", "1", "--json"]) == 0
    (short,) = json.loads(capsys.readouterr().out)
    assert short["value"] == 1 / 2
    assert main(["compare", gold, one, two, "--metric", "upos", "--limit", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["difference"]["value"] == 1 / 2
    assert main(["compare", gold, one, "--metric", "upos", "--limit", "0"]) == 2
    assert "`--limit` is expected to be 1 or more, but got 0" in capsys.readouterr().err


def test_files_are_named_once(files, capsys, tmp_path):
    gold, one, two = files
    for said, message in (
        ([one, one], "different files, but one comes twice"),
        ([f"{one},{one}"], "different files, but one comes twice"),
        ([f"{one},"], "FILE or FILE,FILE,..., but got"),
    ):
        assert main(["compare", gold, *said, "--metric", "upos"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    comma = tmp_path / "a,b.conllu"
    comma.write_text((tmp_path / "two.conllu").read_text())
    assert main(["compare", gold, str(comma), "--metric", "upos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["value"] == 1
