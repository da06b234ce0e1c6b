"""ParsingData: heads and relations in batches, every kind of source, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from ltsft.data import ParsingData, Source
from ltsft.data.artificial import family
from ltsft.data.labels import RELATIONS
from ltsft.errors import LtsftError

RANGES = """# sent_id = 1
1-2\tdel\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
1\tde\tde\tADP\tE\tA=b\t3\tcase\t3:case\tx
2\tel\tel\tDET\t_\t_\t3\tdet:sub\t_\t_
3\tchủ tịch\tx\tNOUN\t_\t_\t0\troot\t_\t_
3.1\tgone\t_\t_\t_\t_\t_\t_\t0:root\t_

1\tno\t_\tINTJ\t_\t_\t0\troot\t_\t_

"""
"""A multiword range, an empty node, a form with a space, a sub-type, comments, other columns."""


def row(number: object, form: str, head: object = 0, relation: str = "root") -> str:
    return f"{number}\t{form}\t_\tX\t_\t_\t{head}\t{relation}\t_\t_\n"


def batches(data: ParsingData, role: str = "test") -> list[dict[str, Any]]:
    (loader,) = getattr(data, f"{role}_dataloader")()
    return list(loader)


def test_batches(make_tokenizer: Callable[..., str], write: Callable[..., str]) -> None:
    """Heads 0 for the root and i + 1 for word i; a sub-word knows its word; padding is -100."""
    data = ParsingData(make_tokenizer(), test={"xx": write("a.conllu", RANGES)})
    (batch,) = batches(data)
    assert batch["heads"].tolist() == [[3, 3, 0], [0, -100, -100]]
    relations = [[RELATIONS[i] if i >= 0 else i for i in row] for row in batch["relations"]]
    assert relations == [["case", "det", "root"], ["root", -100, -100]]
    # "de", "el", "chủ" + "tịch" (unknown letters: one piece each), "no", letter by letter.
    assert batch["word_ids"].tolist() == [
        [-1, 0, 0, 1, 1, *[2] * (batch["word_ids"][0] == 2).sum(), -1],
        [-1, 0, 0, -1] + [-1] * (batch["word_ids"].shape[1] - 4),
    ]
    assert batch["language"] == "xx"
    assert data.labels == RELATIONS == sorted(RELATIONS)
    assert len(RELATIONS) == 37


def test_labels_may_be_others(
    make_tokenizer: Callable[..., str], write: Callable[..., str]
) -> None:
    """The authors' published parsers have 38 relations, the first of which is `_`."""
    path = write("a.conllu", RANGES)
    data = ParsingData(make_tokenizer(), labels=["_", *RELATIONS], test={"xx": path})
    assert batches(data)[0]["relations"][1, 0] == RELATIONS.index("root") + 1
    few = ParsingData(make_tokenizer(), labels=["root", "case"], test={"xx": path})
    with pytest.warns(UserWarning, match=r"has 1 labels outside the inventory \(1 det\); they cou"):
        assert batches(few)[0]["relations"][0].tolist() == [1, -1, 0]
    with pytest.raises(LtsftError, match="expected to have some of the labels obl, but it has"):
        batches(ParsingData(make_tokenizer(), labels=["obl"], test={"xx": path}))


def test_words_beyond_the_limit_are_kept(
    make_tokenizer: Callable[..., str], write: Callable[..., str]
) -> None:
    data = ParsingData(make_tokenizer(), test={"xx": write("a.conllu", RANGES)}, max_length=5)
    with pytest.warns(UserWarning, match=r"has 1 words beyond .* = 5, .*; they count as wrong"):
        (batch,) = batches(data)
    assert batch["word_ids"][0].tolist() == [-1, 0, 0, 1, -1]
    assert batch["heads"][0].tolist() == [3, 3, 0]
    assert batch["num_encoded"].tolist() == [2, 1]


def test_words_without_sub_words_lie_within_the_limit(
    make_tokenizer: Callable[..., str], write: Callable[..., str]
) -> None:
    """At the end of a sentence too, and where there is nothing else."""
    text = row(1, "a") + row(2, "\x01", 1) + "\n" + row(1, "\x01") + "\n" + row(1, "abcdefgh")
    data = ParsingData(make_tokenizer(), test={"xx": write("a.conllu", text)}, max_length=6)
    (batch,) = batches(data)
    assert batch["num_encoded"].tolist() == [2, 1, 1]
    assert (batch["word_ids"] >= 0).sum(1).tolist() == [1, 0, 4]


def test_artificial_languages(make_tokenizer: Callable[..., str]) -> None:
    """Heads and relations are the language's own, and all of its relations are universal."""
    data = ParsingData(make_tokenizer(), test={"xx": Source("artificial:besku", limit=50)})
    (gold,) = family()["besku"].sentences(50, "test")[7:8]
    sentence = data.examples("test", "xx")[7]
    assert (sentence.words, sentence.heads) == (gold.words, gold.heads)
    for batch in batches(data):
        assert ((batch["relations"] >= 0) == (batch["heads"] >= 0)).all()


# --- Tables -------------------------------------------------------------------------------------

HUB_ROW = {
    "tokens": ["del", "de", "el", "chủ tịch", "gone"],
    "head": ["None", "3", "3", "0", "None"],
    "deprel": ["_", "case", "det:sub", "root", "_"],
}
"""As the tables on the hub have the first sentence of `RANGES`: heads are strings."""


@pytest.mark.parametrize("missing", ["None", "_", None, ""])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_tables(
    make_tokenizer: Callable[..., str],
    tmp_path: Path,
    write: Callable[..., str],
    missing: str | None,
    kind: str,
) -> None:
    """Tokens without a head are ranges and empty nodes, and the rest is as from CoNLL-U."""
    path = str(tmp_path / f"t.{kind}")
    head = [missing if value == "None" else value for value in HUB_ROW["head"]]
    table = datasets.Dataset.from_list([HUB_ROW | {"head": head}])
    table.to_parquet(path) if kind == "parquet" else table.to_json(path)
    data = ParsingData(make_tokenizer(), test={"xx": path})
    file = ParsingData(make_tokenizer(), test={"xx": Source(write("a.conllu", RANGES), limit=1)})
    for name, values in batches(file)[0].items():
        theirs = batches(data)[0][name]
        assert torch.equal(theirs, values) if isinstance(values, torch.Tensor) else theirs == values


def test_columns_of_a_table(make_tokenizer: Callable[..., str], write: Callable[..., str]) -> None:
    """Numbers serve as well as strings, under any name."""
    rows = json.dumps({"w": ["a", "b"], "h": [2, 0], "r": ["nsubj:pass", "root"]})
    columns = {"words": "w", "heads": "h", "relations": "r"}
    source = Source(write("a.jsonl", rows), columns=columns)
    (batch,) = batches(ParsingData(make_tokenizer(), test={"xx": source}))
    assert batch["heads"].tolist() == [[2, 0]]
    assert [RELATIONS[i] for i in batch["relations"][0]] == ["nsubj", "root"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": ["None", "4", "3", "0", "None"]}, "the head of word 1 is 4"),
        ({"head": ["None", "2", "1", "0", "None"]}, "words 1, 2 make a cycle"),
        ({"head": ["None", "0", "1", "0", "None"]}, "words 1 and 3 are both roots"),
        ({"head": ["None"] * 5}, "expected to have a word, but has none"),
        ({"head": ["None", "b", "3", "0", "None"]}, "a head is expected .* but got 'b'"),
        ({"head": ["3", "3"]}, "the heads are expected to be a list of 5, .* but got"),
        ({"deprel": ["_", "case", "_", "root", "_"]}, "have a relation, but word 2 has none"),
        ({"deprel": ["root"]}, "the relations are expected to be a list of 5"),
        ({"tokens": "a b c d e"}, "the words are expected to be a list of strings, but got a b c"),
    ],
)
def test_broken_tables(
    make_tokenizer: Callable[..., str],
    write: Callable[..., str],
    changes: dict[str, Any],
    message: str,
) -> None:
    path = write("a.jsonl", json.dumps(HUB_ROW | changes))
    data = ParsingData(make_tokenizer(), test={"xx": path})
    with pytest.raises(LtsftError, match=rf"a\.jsonl, line 1: .*{message}") as it:
        data.setup("test")
    assert "\n" not in str(it.value)


def test_a_table_without_heads(
    make_tokenizer: Callable[..., str], write: Callable[..., str]
) -> None:
    """It can be predicted for; to train or score, the missing column is named."""
    path = write("a.jsonl", json.dumps({"tokens": ["a", "b"]}))
    data = ParsingData(make_tokenizer(), predict={"xx": path}, test={"xx": path})
    assert batches(data, "predict")[0]["heads"].tolist() == [[-1, -1]]
    with pytest.raises(LtsftError, match="`data.init_args.test.xx.columns` .* for `heads`"):
        data.setup("test")


# --- Broken files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (row(1, "a") + row(2, "b", "_"), r"line 2: the head .* it is missing; annotate it, or"),
        (row(1, "a") + row(2, "b", 3) + row(3, "c", 2), r"line 2: .* make a cycle; correct them"),
        (row(1, "a") + row(2, "b", "one"), r"line 2: the head .* got 'one'; check that no column"),
        (row(1, "a") + "2\tb\n", r"line 2: .* 10 columns .* got 2; columns separated by spaces"),
        ("", "at least one sentence .*; check that the file was written to its end"),
        (row(1, "é").encode("latin1"), r"line 1: .* UTF-8, .*; convert it"),
    ],
)
@pytest.mark.parametrize("role", ["train", "validation", "test"])
def test_broken_files(
    make_tokenizer: Callable[..., str],
    write: Callable[..., str],
    role: str,
    text: str | bytes,
    message: str,
) -> None:
    """One line that names file, line and remedy."""
    path = write("broken.conllu", text)
    data = ParsingData(make_tokenizer(), **{role: {"xx": path}})
    with pytest.raises(LtsftError, match=rf"broken\.conllu.*{message}") as caught:
        data.setup()
    assert "\n" not in str(caught.value)


# --- Predictions --------------------------------------------------------------------------------


def test_predictions_change_two_columns(
    make_tokenizer: Callable[..., str], write: Callable[..., str], tmp_path: Path
) -> None:
    """Ranges, empty nodes, comments and all other columns are as in the file, byte for byte."""
    data = ParsingData(make_tokenizer(), predict={"xx": write("a.conllu", RANGES)})
    parses = [[(0, "root"), (1, "obj"), (2, "nsubj")], [(0, "dep")]]
    path = data.save_predictions("xx", parses, tmp_path / "out")
    assert path == tmp_path / "out/xx.conllu"
    expected = RANGES
    for old, new in [
        ("A=b\t3\tcase", "A=b\t0\troot"),
        ("3\tdet:sub", "1\tobj"),
        ("0\troot\t_\t_\n3.1", "2\tnsubj\t_\t_\n3.1"),
        ("INTJ\t_\t_\t0\troot", "INTJ\t_\t_\t0\tdep"),
    ]:
        assert old in expected
        expected = expected.replace(old, new)
    assert path.read_text(encoding="utf-8") == expected


def test_predictions_need_no_gold_trees(
    make_tokenizer: Callable[..., str], write: Callable[..., str], tmp_path: Path
) -> None:
    """Neither heads nor relations, nor does it matter what they are."""
    text = row(1, "a", "_", "_") + row(2, "b", "_", "_") + "\n" + row(1, "c", 2) + row(2, "d", 1)
    data = ParsingData(make_tokenizer(), predict={"xx": write("a.conllu", text)})
    assert batches(data, "predict")[0]["heads"].tolist() == [[-1, -1], [2, 1]]
    path = data.save_predictions("xx", [[(2, "x"), (0, "y")]] * 2, tmp_path)
    assert path.read_text().count("\t2\tx\t") == path.read_text().count("\t0\ty\t") == 2


def test_predictions_for_tables_and_artificial_languages(
    make_tokenizer: Callable[..., str], write: Callable[..., str], tmp_path: Path
) -> None:
    """Form, head and relation alone."""
    table = write("a.jsonl", json.dumps(HUB_ROW))
    data = ParsingData(make_tokenizer(), predict={"xx": table, "yy": "artificial:elmu"})
    path = data.save_predictions("xx", [[(2, "case"), (0, "root"), (2, "obj")]], tmp_path)
    assert path.read_text().splitlines()[2] == "3\tchủ tịch\t_\t_\t_\t_\t2\tobj\t_\t_"
    sentences = data.examples("predict", "yy")
    parses = [list(zip(s.heads, s.relations, strict=True)) for s in sentences]
    again = ParsingData(
        make_tokenizer(),
        test={"yy": str(data.save_predictions("yy", parses, tmp_path))},
    ).examples("test", "yy")
    assert [(s.words, s.heads) for s in again] == [(s.words, s.heads) for s in sentences]
