"""PairData: pairs and single sentences from any source, label ids, what is warned of or refused."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import AutoTokenizer

from ltsft.data import PairData, Source
from ltsft.data.artificial import family
from ltsft.data.labels import NLI
from ltsft.errors import LtsftError

SHARED = Path(__file__).parents[3] / "shared"
Write = Callable[..., str]
Make = Callable[..., str]

HEADER = "id\tpremise\thypothesis\tlabel\n"


def tsv(*rows: tuple[str, str, str]) -> str:
    return HEADER + "".join(f"{n}\t{a}\t{b}\t{c}\n" for n, (a, b, c) in enumerate(rows))


PAIRS = tsv(("ab", "c", "neutral"), ("d", "ef", "contradiction"), ("g", "h", "entailment"))


def batches(data: PairData, role: str = "test") -> list[dict[str, Any]]:
    (loader,) = getattr(data, f"{role}_dataloader")()
    return list(loader)


def test_batches(make_tokenizer: Make, write: Write) -> None:
    """Each as the tokenizer has it by itself, padded; labels in the authors' order."""
    name = make_tokenizer()
    (batch,) = batches(PairData(name, test={"xx": write("a.tsv", PAIRS)}))
    tokenizer = AutoTokenizer.from_pretrained(name)
    for row, pair in enumerate([("ab", "c"), ("d", "ef"), ("g", "h")]):
        alone = tokenizer(*pair)
        length = len(alone["input_ids"])
        assert batch["input_ids"][row, :length].tolist() == alone["input_ids"]
        assert batch["token_type_ids"][row, :length].tolist() == alone["token_type_ids"]
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (
            batch["input_ids"].shape[1] - length
        )
    assert batch["labels"].tolist() == [1, 2, 0]
    assert batch["language"] == "xx"


def test_token_types_only_where_the_tokenizer_has_them(make_tokenizer: Make, write: Write) -> None:
    """Also after the same texts came through the cache with another tokenizer's setting."""
    source = write("a.tsv", PAIRS)
    name = make_tokenizer()
    assert "token_type_ids" in batches(PairData(name, test={"xx": source}))[0]
    settings = Path(name) / "tokenizer_config.json"
    changed = json.loads(settings.read_text())
    changed["model_input_names"] = ["input_ids", "attention_mask"]
    settings.write_text(json.dumps(changed))
    assert "token_type_ids" not in batches(PairData(name, test={"xx": source}))[0]


def test_every_kind_of_table(make_tokenizer: Make, write: Write, tmp_path: Path) -> None:
    """TSV, CSV, JSON lines, a JSON list, parquet with label ids: one reading, columns by name."""
    rows = [
        {"sentence1": 'He said "ab".', "sentence2": "c, d", "gold": "neutral"},
        {"sentence1": "None", "sentence2": "e", "gold": "contradiction"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write("a.jsonl", lines)
    write("a.json", json.dumps(rows))
    write(
        "a.tsv",
        "sentence1\tsentence2\tgold\n" + "".join("\t".join(r.values()) + "\n" for r in rows),
    )
    write(
        "a.csv",
        'sentence1,sentence2,gold\n"He said ""ab"".","c, d",neutral\nNone,e,contradiction\n',
    )
    features = datasets.Features(
        {
            "sentence1": datasets.Value("string"),
            "sentence2": datasets.Value("string"),
            "gold": datasets.ClassLabel(names=NLI),
        }
    )
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "a.parquet")
    columns = {"premise": "sentence1", "hypothesis": "sentence2", "label": "gold"}
    for name in ("a.jsonl", "a.json", "a.tsv", "a.csv", "a.parquet"):
        data = PairData(
            make_tokenizer(), test={"xx": Source(str(tmp_path / name), columns=columns)}
        )
        examples = data.examples("test", "xx")
        assert [e.texts for e in examples] == [('He said "ab".', "c, d"), ("None", "e")], name
        assert [e.label for e in examples] == ["neutral", "contradiction"], name
        data = PairData(
            make_tokenizer(), test={"xx": Source(str(tmp_path / name), columns=columns, limit=1)}
        )
        assert len(data.examples("test", "xx")) == 1


def test_folder_of_parquet_files(make_tokenizer: Make, tmp_path: Path) -> None:
    """As on the hub: splits by role, or the one that is named."""
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=NLI),
        }
    )
    for split, label in (("train", 0), ("validation_matched", 2)):
        rows = [{"premise": split, "hypothesis": "b", "label": label}]
        datasets.Dataset.from_list(rows, features=features).to_parquet(
            tmp_path / f"set/data/{split}-00000-of-00001.parquet"
        )
    folder = str(tmp_path / "set")
    data = PairData(
        make_tokenizer(),
        train={"en": folder},
        validation={"en": Source(folder, split="validation_matched")},
    )
    assert data.examples("fit", "en")[0].texts == ("validation_matched", "b")
    (batch,) = list(data.train_dataloader())
    assert set(batch["labels"].tolist()) == {0}


def test_single_sentences(make_tokenizer: Make, write: Write) -> None:
    """Any labels; whole numbers are names until they are renamed."""
    path = write("a.jsonl", '{"text": "ab", "label": 1}\n{"text": "c", "label": 0}\n')
    data = PairData(
        make_tokenizer(),
        texts=["text"],
        labels=["bad", "good"],
        label_map={"0": "bad", "1": "good"},
        test={"xx": path},
    )
    (batch,) = batches(data)
    assert batch["labels"].tolist() == [1, 0]
    assert batch["input_ids"].shape == (2, 4)
    assert not batch["token_type_ids"].any()


def test_built_in_languages(make_tokenizer: Make) -> None:
    data = PairData(
        make_tokenizer(), train={"elmu": "artificial:elmu"}, test={"elmu": "artificial:elmu"}
    )
    pairs = family(0)["elmu"].pairs(300, "test")
    assert [e.texts for e in data.examples("test", "elmu")] == [
        (pair.premise, pair.hypothesis) for pair in pairs
    ]
    labels = torch.cat([batch["labels"] for batch in batches(data)])
    assert [NLI[label] for label in labels] == [pair.label for pair in pairs]
    assert len(data.train_dataloader()) == -(-1000 // 8)


def test_labels_that_are_none(make_tokenizer: Make, write: Write) -> None:
    """A dash or nothing: not scored, told of; one outside the inventory: scored, and wrong."""
    rows = [("a", "b", "-"), ("c", "d", ""), ("e", "f", "odd"), ("g", "h", "neutral")]
    path = write("a.tsv", tsv(*rows))
    data = PairData(make_tokenizer(), test={"xx": path}, predict={"xx": path})
    unscored = r"test.xx` \(.*\) has 2 examples without a gold label; they are not scored"
    wrong = r"test.xx` \(.*\) has 1 labels outside the inventory \(1 odd\); they count as wrong"
    with pytest.warns(UserWarning, match=unscored), pytest.warns(UserWarning, match=wrong):
        (batch,) = batches(data)
    assert batch["labels"].tolist() == [-100, -100, -1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(batch["labels"]) for batch in batches(data, "predict")] == [4]


def test_label_ids_below_zero_are_none(make_tokenizer: Make, tmp_path: Path) -> None:
    """As `datasets` has the test labels of GLUE and the dashes of SNLI."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y"])}
    )
    rows = {"text": ["a", "b"], "label": [1, -1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    data = PairData(
        make_tokenizer(),
        texts=["text"],
        labels=["x", "y"],
        test={"xx": str(tmp_path / "a.parquet")},
    )
    with pytest.warns(UserWarning, match="has 1 examples without a gold label"):
        (batch,) = batches(data)
    assert batch["labels"].tolist() == [1, -100]


def test_predicting_needs_no_labels(make_tokenizer: Make, write: Write) -> None:
    path = write("a.tsv", "premise\thypothesis\na\tb\n")
    data = PairData(make_tokenizer(), test={"xx": path}, predict={"xx": path})
    assert len(batches(data, "predict")) == 1
    with pytest.raises(LtsftError, match=r"test.xx` .* labels, but not one .* `columns: {label: "):
        data.test_dataloader()


def test_empty_premises_are_kept(make_tokenizer: Make, write: Write) -> None:
    path = write("a.tsv", tsv(("", "b", "neutral"), ("c", "d", "neutral")))
    data = PairData(make_tokenizer(), test={"xx": path})
    with pytest.warns(UserWarning, match="has 1 examples with an empty `premise`; it is kept"):
        (batch,) = batches(data)
    assert batch["attention_mask"].sum(dim=1).tolist() == [4, 5]


def test_long_pairs_lose_the_end_of_the_longer_text(make_tokenizer: Make, write: Write) -> None:
    """Down to the limit, special tokens included; a letter is a sub-word here."""
    name = make_tokenizer()
    rows = [
        ("abcdefgh", "ij", "neutral"),
        ("a", "bcdefghi", "neutral"),
        ("abcdef", "ghijkl", "neutral"),
    ]
    data = PairData(name, test={"xx": write("a.tsv", tsv(*rows))}, max_length=9)
    with pytest.warns(
        UserWarning, match="has 3 examples that fill `data.init_args.max_length` = 9"
    ):
        (batch,) = batches(data)
    tokenizer = AutoTokenizer.from_pretrained(name)
    read = ["".join(tokenizer.convert_ids_to_tokens(row.tolist())) for row in batch["input_ids"]]
    assert [text.replace("##", "").replace("[PAD]", "") for text in read] == [
        "[CLS]abcd[SEP]ij[SEP]",
        "[CLS]a[SEP]bcdef[SEP]",
        "[CLS]abc[SEP]ghi[SEP]",
    ]


def test_predictions(make_tokenizer: Make, write: Write, tmp_path: Path) -> None:
    """JSON lines that are again a source of the same data, with the predicted labels."""
    data = PairData(make_tokenizer(), predict={"xx": write("a.tsv", PAIRS)})
    guesses = [
        dict(zip(NLI, p, strict=True)) for p in ([0.5, 0.25, 0.25], [0, 0, 1], [0.2, 0.7, 0.1])
    ]
    path = data.save_predictions("xx", guesses, tmp_path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {
        "premise": "ab",
        "hypothesis": "c",
        "label": "entailment",
        "probabilities": guesses[0],
    }
    again = PairData(make_tokenizer(), test={"xx": str(path)}).examples("test", "xx")
    assert [e.label for e in again] == ["entailment", "contradiction", "neutral"]
    assert [e.texts for e in again] == [e.texts for e in data.examples("predict", "xx")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": []}, "`data.init_args.texts` is expected to name one .* or two .* got "),
        ({"texts": ["a", "a"], "labels": ["x"]}, "`data.init_args.texts` .*two different ones"),
        ({"labels": []}, "`data.init_args.labels` .* at least one, but got "),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LtsftError, match=message):
        PairData(**options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "premise\tlabel\na\tneutral\n", r"test.xx.columns` .* columns premise, label of"),
        ("a.tsv", HEADER, "a.tsv is expected to have at least one row"),
        ("a.tsv", f"{HEADER}1\ta\tb\n", "a.tsv, line 2: .* 4 columns .* got 3"),
        (
            "a.tsv",
            HEADER.encode() + b"1\t\xff\tb\tc\n",
            "a.tsv, line 2: .* UTF-8, but got the byte",
        ),
        (
            "a.tsv",
            tsv(("a", "b", "x"), ("c", "d", "y")),
            "labels entailment, .* but it has only x, y",
        ),
        (
            "a.jsonl",
            '{"premise": "a", "hypothesis": "b", "label": 0}\n{"premise": "a", "label": 0}\n',
            "a.jsonl, line 2: .* to have `hypothesis`, as the first one has, but got only premise",
        ),
        (
            "a.jsonl",
            '{"premise": "a", "hypothesis": null, "label": 0}\n',
            "strings for `hypothesis`, but .*a.jsonl, line 1, has None there",
        ),
        (
            "a.jsonl",
            '{"premise": "a", "hypothesis": "b", "label": 0.5}\n',
            "strings or whole numbers for `label`, but .*a.jsonl, line 1, has 0.5 there",
        ),
        ("a.txt", "a b\n", r"test.xx` is expected to be a table .*a.txt is named like none"),
    ],
)
def test_bad_input(
    make_tokenizer: Make, write: Write, name: str, content: str | bytes, message: str
) -> None:
    data = PairData(make_tokenizer(), test={"xx": write(name, content)})
    with pytest.raises(LtsftError, match=message) as caught:
        data.test_dataloader()
    assert "\n" not in str(caught.value)


def test_labels_of_single_sentences(make_tokenizer: Make, write: Write) -> None:
    """They are the user's to give, unless the model has them; predicting goes without."""
    path = write("a.jsonl", '{"text": "ab", "label": "y"}\n')
    bare = write("b.jsonl", '{"text": "ab"}\n')
    data = PairData(make_tokenizer(), texts=["text"], test={"xx": path}, predict={"xx": bare})
    assert data.labels is None
    assert len(batches(data, "predict")) == 1
    with pytest.raises(LtsftError, match="`data.init_args.labels` .* single sentences, but got no"):
        data.test_dataloader()
    data.use_labels(["x", "y"])
    assert batches(data)[0]["labels"].tolist() == [1]


def test_built_in_languages_have_pairs_only(make_tokenizer: Make) -> None:
    data = PairData(
        make_tokenizer(), texts=["text"], labels=["a"], test={"elmu": "artificial:elmu"}
    )
    with pytest.raises(LtsftError, match=r"`data.init_args.texts` .* two columns .* but got text"):
        data.test_dataloader()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_real_files(make_tokenizer: Make) -> None:
    """As many rows as the files have lines; quotes, an empty premise and blanks survive."""
    for path in sorted(SHARED.glob("data/nli/*/*.tsv")):
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")[1:]
        data = PairData(make_tokenizer(), test={"xx": str(path)})
        examples = data.examples("test", "xx")
        assert [(*e.texts, e.label) for e in examples] == [
            tuple(line.split("\t")[2:]) for line in lines
        ], path
