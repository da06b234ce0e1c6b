"""``ltsft push`` and ``ltsft pull``, with a hub on this machine."""

import json
import re
from pathlib import Path

import pytest

from ltsft.sparse import SparseFineTuning
from tests.sparse.test_hub import make, same


@pytest.fixture
def files():
    """Three fine-tunings, and scores."""
    make(0).save_pretrained("pos")
    make(1, task="masked-lm", language="hsb", labels=None).save_pretrained("hsb")
    make(2, task="masked-lm", language="mt", labels=None).save_pretrained("mt")
    make(3, base_model="./folder").save_pretrained("local")
    make(4, task=None, language=None).save_pretrained("nameless")
    Path("scores.json").write_text(json.dumps({"test_accuracy/hsb": 0.5}))
    Path("odd.json").write_text(json.dumps(["a"]))


def test_one_with_its_scores(hub, ltsft, files):
    out, err = ltsft("push", "pos", "--to", "me/mine", "--scores", "scores.json", "--private")
    assert err == []
    (commit,) = hub.repositories["me/mine"]
    assert f"Published pos as me/mine@{commit}." in out
    assert b"test_accuracy/hsb | 0.5000" in hub.repositories["me/mine"][commit]["README.md"]
    assert hub.private == {"me/mine"}
    out, _ = ltsft("pull", f"me/mine@{commit}", "--output", "here")
    assert out.strip() == f"me/mine@{commit}: here/mine"
    assert same(SparseFineTuning.from_pretrained("here/mine"), make(0))


def test_many_are_named_by_what_they_are(hub, ltsft, files):
    ltsft("push", "pos", "hsb", "mt", "--to", "me", "--plain")
    names = [f"me/bert-base-multilingual-cased-sft-{what}" for what in ("pos-en", "hsb", "mt")]
    assert list(hub.repositories) == names
    out, _ = ltsft("pull", *names)
    assert [line.partition("@")[0] for line in out.splitlines()] == names
    for seed, name in enumerate(names):
        assert same(SparseFineTuning.from_pretrained(name), make(seed))


def test_a_dry_run_shows_the_card_and_asks_nobody(hub, ltsft, files):
    out, _ = ltsft("push", "local", "--to", "me/it", "--base", "me/bert", "--dry-run")
    assert "base_model: me/bert" in out
    assert hub.asked == []


MISTAKES = {
    "a base in a folder": (["push", "local", "--to", "me"], "but ./folder is a folder; say its"),
    "several in one": (["push", "pos", "hsb", "--to", "me/x"], "a user or organisation for 2 SFTs"),
    "twice the same": (["push", "pos", "pos/", "--to", "me"], "but two would be me/bert-base"),
    "without a name": (["push", "nameless", "--to", "me"], "by which its repository is named"),
    "no user": (["push", "pos", "--to", "a/b/c"], "`--to` is expected to be `user` or `user/repo`"),
    "no scores": (["push", "pos", "--to", "me", "--scores", "odd.json"], "has no scores by their"),
    "no file": (["push", "pos", "--to", "me", "--scores", "none.json"], "scores.json of `ltsft t"),
    "scores of several": (
        ["push", "pos", "hsb", "--to", "me", "--scores", "scores.json"],
        "`--scores` is expected to be of one SFT",
    ),
    "a folder to pull": (["pull", "./pos"], "`SFT` is expected to be `user/repo"),
    "nothing to pull": (["pull", "me/none"], "`me/none` is expected to be a folder, a file or"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_published(case, hub, ltsft, files):
    args, message = MISTAKES[case]
    _, (line,) = ltsft(*args, status=2)
    assert re.search(message, line), line
    assert not any(hub.repositories.values())
