"""Publishing and downloading, with a hub on this machine that speaks the real one's language."""

import logging

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard

from ltsft.errors import LtsftError
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning
from tests.hub_server import TOKEN


def make(seed=0, **about) -> SparseFineTuning:
    generator = torch.Generator().manual_seed(seed)
    entries = {}
    for step, part in ((3, "embeddings.word_embeddings"), (4, "encoder.layer.0.query")):
        positions = torch.arange(0, 60, step)
        values = torch.randn(len(positions), generator=generator)
        entries[f"bert.{part}.weight"] = SparseDelta((9, 7), positions, values)
    fields = {"base_model": "bert-base-multilingual-cased", "task": "pos", "language": "en"}
    head = {"classifier.weight": torch.randn(2, 7, generator=generator)}
    return SparseFineTuning(entries, head, Metadata(**fields | {"labels": ["A", "B"]} | about))


def same(one: SparseFineTuning, other: SparseFineTuning) -> bool:
    return one.entries == other.entries and all(
        torch.equal(value, other.whole[name]) for name, value in one.whole.items()
    )


@pytest.mark.parametrize("packed", [True, False])
def test_what_was_published_comes_back_bit_for_bit(hub, packed):
    sft = make()
    where = sft.push_to_hub("me/pos", packed=packed)
    name, _, commit = where.partition("@")
    assert name == "me/pos"
    assert list(hub.repositories["me/pos"]) == [commit]
    again = SparseFineTuning.from_pretrained("me/pos")
    assert same(again, sft)
    assert again.metadata == sft.metadata


def test_a_commit_stays_what_it_was(hub):
    old, new = make(0), make(1)
    first = old.push_to_hub("me/pos")
    second = new.push_to_hub("me/pos")
    assert first != second
    assert same(SparseFineTuning.from_pretrained("me/pos"), new)
    assert same(SparseFineTuning.from_pretrained(first), old)
    commit = first.partition("@")[2]
    assert same(SparseFineTuning.from_pretrained("me/pos", revision=commit), old)


def test_without_a_network_the_cache_answers(hub, monkeypatch):
    where = make().push_to_hub("me/pos")
    SparseFineTuning.from_pretrained(where)
    SparseFineTuning.from_pretrained("me/pos")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    del hub.asked[:]
    assert same(SparseFineTuning.from_pretrained("me/pos"), make())
    assert same(SparseFineTuning.from_pretrained(where), make())
    assert hub.asked == []
    with pytest.raises(LtsftError, match="`me/other` is expected to be a folder, a file or a repo"):
        SparseFineTuning.from_pretrained("me/other")


def test_private_repositories_need_the_token_which_nothing_shows(hub, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    make().push_to_hub("me/mine", private=True)
    assert same(SparseFineTuning.from_pretrained("me/mine"), make())
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_elses")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "another")
    with pytest.raises(LtsftError) as missing:
        SparseFineTuning.from_pretrained("me/mine")
    with pytest.raises(LtsftError, match="you may write to, but the hub says: .* `hf auth login`"):
        make().push_to_hub("me/mine")
    said = caplog.text + "".join(capfd.readouterr()) + str(missing.value)
    assert TOKEN not in said
    assert "hf_somebody_elses" not in said


def test_folders_of_this_machine_are_not_told(hub):
    sft = make(base_model="/home/me/models/bert", trained_with=["/home/me/runs/en", "runs/x"])
    with pytest.raises(LtsftError, match="one that others can load, but /home/me/models/bert is a"):
        sft.push_to_hub("me/pos")
    assert not hub.repositories
    sft.push_to_hub("me/pos", base_model="me/bert")
    (files,) = hub.repositories["me/pos"].values()
    assert all(b"/home" not in data for data in files.values())
    meta = SparseFineTuning.from_pretrained("me/pos").metadata
    assert (meta.base_model, meta.trained_with) == ("me/bert", ["en", "runs/x"])


def test_the_card_says_what_the_hub_asks_for(hub):
    """As the hub's own library reads it."""
    scores = {"test_accuracy/hsb": 0.625, "test_loss/hsb": 1.5}
    make().push_to_hub("me/pos", license="cc-by-4.0", datasets=["me/ud"], scores=scores)
    (files,) = hub.repositories["me/pos"].values()
    card = ModelCard(files["README.md"].decode())
    assert card.data.library_name == "ltsft"
    assert card.data.base_model == "bert-base-multilingual-cased"
    assert card.data.base_model_relation == "adapter"
    assert card.data.language == ["en"]
    assert card.data.license == "cc-by-4.0"
    assert card.data.datasets == ["me/ud"]
    assert card.data.pipeline_tag == "token-classification"
    results = {r.metric_type: (r.dataset_name, r.metric_value) for r in card.data.eval_results}
    assert results == {"accuracy": ("hsb", 0.625), "loss": ("hsb", 1.5)}
    assert "| embeddings | 20 | 57.1% |" in card.text
    assert "| layer 0 | 15 | 42.9% |" in card.text


@pytest.mark.parametrize("task", ["pos", "masked-lm", "nli", "dp", None])
def test_the_cards_code_is_python(hub, task):
    make(task=task).push_to_hub("me/it")
    (files,) = hub.repositories["me/it"].values()
    code = files["README.md"].decode().split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "me/it" in code


def test_a_name_that_is_none(hub):
    with pytest.raises(LtsftError, match="you may write to, but the hub says"):
        make().push_to_hub("a b/c")
    with pytest.raises(LtsftError, match="and the hub says"):
        SparseFineTuning.from_pretrained("me/nothing")
