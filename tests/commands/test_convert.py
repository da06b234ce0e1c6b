"""``ltsft convert``: what it reads is used like any other fine-tuning."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, BertConfig, BertModel

from ltsft.sparse import SparseFineTuning
from tests import tiny
from tests.exchange.test_published import encode
from tests.trained import TAGGER


def publish(sft: SparseFineTuning, folder: str) -> str:
    """Write a fine-tuning as the authors' code does."""
    diffs = {}
    for name, delta in sft.entries.items():
        mask = torch.zeros(delta.shape, dtype=torch.bool)
        mask.view(-1)[delta.indices.long()] = True
        diffs[name] = encode(delta.dense(), mask)
    Path(folder).mkdir()
    torch.save({"diffs": diffs, "abs": dict(sft.whole)}, Path(folder, "pytorch_diff.bin"))
    return folder


def test_published_ones_score_like_ours(trained, ltsft):
    """A task's and a language's, converted and named where ours are: the same predictions."""
    ours = {"task": trained.task, "bb": trained.languages["bb"]}
    sfts = {name: SparseFineTuning.from_pretrained(path) for name, path in ours.items()}
    labels = ",".join(sfts["task"].metadata.labels)
    options = {
        "task": ["--task", "pos", "--labels", labels],
        "bb": ["--task", "masked-lm", "--language", "bb"],
    }
    for name, sft in sfts.items():
        out, err = ltsft(
            "convert", publish(sft, f"published-{name}"), name, *options[name], "--base",
            trained.base,
        )  # fmt: skip
        assert err == []
        assert f"Wrote {SparseFineTuning.from_pretrained(name)!r} to {name}." in out
    converted = {name: SparseFineTuning.from_pretrained(name) for name in sfts}
    assert all(converted[name].entries == sft.entries for name, sft in sfts.items())
    predictions = []
    for number, paths in enumerate((ours, {"task": "task", "bb": "bb"})):
        ltsft(
            "predict", *TAGGER, "--model.base_model", trained.base, "--model.base_sfts",
            f"[{paths['task']}]", "--languages.sfts", f"{{bb: {paths['bb']}}}", "--data.predict",
            f"{{bb: {trained.treebank}}}", "--trainer.default_root_dir", f"out{number}",
        )  # fmt: skip
        predictions.append(Path(f"out{number}/predictions/bb.conllu").read_text())
    assert predictions[0] == predictions[1]


def test_a_base_that_was_named_is_the_only_one(trained, ltsft):
    sft = SparseFineTuning.from_pretrained(trained.languages["bb"])
    source = publish(sft, "mbert-lang-sft-bb-small")
    ltsft("convert", source, "free")
    ltsft("convert", source, "tied", "--base", trained.base)
    about = SparseFineTuning.from_pretrained("free").metadata
    assert (about.base_model, about.language) == ("bert-base-multilingual-cased", "bb")
    tied = SparseFineTuning.from_pretrained("tied").metadata
    assert tied.base_digests.items() <= sft.metadata.base_digests.items()
    assert tied.base_digests.keys() == sft.entries.keys()
    _, (line,) = ltsft("convert", source, "other", "--base", small_base(), status=2)
    assert "`--base` is expected to be what the fine-tuning was made from, with `" in line


def small_base() -> str:
    """A model of another size."""
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8,
    )  # fmt: skip
    BertModel(config).save_pretrained("small")
    tiny.tokenizer().save_pretrained("small")
    return "small"


def test_a_full_fine_tuning_loses_all_but_its_k_largest_changes(trained, ltsft):
    """Judged by a full sort; what is kept is exactly what the checkpoint holds."""
    torch.manual_seed(0)
    labels = {0: "NOUN", 1: "VERB"}
    model = AutoModelForTokenClassification.from_pretrained(trained.base, id2label=labels)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * (torch.rand_like(parameter) < 0.3)
    model.save_pretrained("tuned")
    command = ["convert", "tuned", "sft", "--base", trained.base, "--task", "pos"]
    ltsft(*command, "--num-params", "100")
    sft = SparseFineTuning.from_pretrained("sft")
    assert sft.metadata.labels == ["NOUN", "VERB"]
    assert sft.num_params == 100
    after = dict(model.named_parameters())
    inside = [name for name in before if name.startswith("bert.")]
    change = torch.cat([(after[n] - before[n]).detach().abs().flatten() for n in inside])
    kept = torch.cat([delta.values.abs() for delta in sft.entries.values()])
    assert torch.equal(kept.sort().values, change.sort().values[-100:])
    fresh = AutoModelForTokenClassification.from_pretrained(trained.base, id2label=labels)
    sft.apply(fresh)
    for name, parameter in fresh.named_parameters():
        if name in sft.entries:
            at = sft.entries[name].indices.long()
            assert torch.allclose(parameter.view(-1)[at], after[name].view(-1)[at], atol=1e-6)
        elif name not in inside:
            assert torch.equal(parameter, after[name])
    ltsft(*[*command[:2], "by-share", *command[3:]], "--density", "0.1")
    meta = SparseFineTuning.from_pretrained("by-share").metadata
    assert meta.num_params == round(0.1 * meta.num_maskable)


MISTAKES = {
    "nothing there": (["nowhere/at/all", "out"], "`SOURCE` .* but there is no nowhere/at/all"),
    "a full one without a base": (
        ["{base}", "out", "--density", "0.1"],
        "`--base` is expected to name the pretrained model that SOURCE was made from",
    ),
    "labels twice": (["{published}", "out", "--labels", "A,A"], "to name different labels"),
    "an output that exists": (["{published}", "{base}"], "`OUTPUT` is expected to be a new folder"),
    "another architecture": (
        ["{base}", "out", "--base", "{small}", "--density", "0.1"],
        "`--base` is expected to be what .* was made from, but `bert.embeddings.position_",
    ),
    "no architecture": (
        ["{nameless}", "out", "--base", "{base}", "--density", "0.1"],
        "expected to say in its config.json which class",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case, trained, ltsft):
    args, message = MISTAKES[case]
    sft = SparseFineTuning.from_pretrained(trained.languages["bb"])
    shutil.copytree(trained.base, "nameless")
    config = json.loads(Path("nameless/config.json").read_text())
    Path("nameless/config.json").write_text(json.dumps({**config, "architectures": None}))
    places = {
        "base": trained.base,
        "published": publish(sft, "published"),
        "small": small_base(),
        "nameless": "nameless",
    }
    _, (line,) = ltsft("convert", *(arg.format(**places) for arg in args), status=2)
    assert re.search(message, line), line
    assert not Path("out").exists()
