"""``ltsft compose``: the checkpoint is that of ``apply``, and needs nothing of ltsft."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, AutoTokenizer

from ltsft.modules import untie_output_embeddings
from ltsft.sparse import SparseFineTuning
from tests import tiny

SENTENCE = "w1 w2 w3 w4 w59"

WITHOUT_LTSFT = """
import sys

sys.modules["ltsft"] = None  # whoever imports it now gets an ImportError
import torch
import transformers
from safetensors.torch import save_file

torch.set_num_threads(1)
try:
    import ltsft
except ImportError:
    pass
else:
    sys.exit("ltsft can be imported")
logits = {}
for folder, head in (("tagger", "TokenClassification"), ("language", "MaskedLM")):
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(SENTENCE, return_tensors="pt")
    model = getattr(transformers, f"AutoModelFor{head}").from_pretrained(folder)
    with torch.no_grad():
        inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        logits[folder] = model.eval()(**inputs).logits
save_file(logits, "logits.safetensors")
"""


def logits_of(model) -> torch.Tensor:
    tokens = tiny.tokenizer()(SENTENCE, return_tensors="pt")
    with torch.no_grad():
        inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        return model.eval()(**inputs).logits


def test_plain_transformers_load_it_and_get_the_logits_of_apply(trained, ltsft):
    """Bit for bit, in a process that cannot import ltsft: a tagger, and a masked LM."""
    ltsft(
        "compose", "--sft", trained.task, "--sft", trained.languages["bb"], "--output", "tagger"
    )  # fmt: skip
    ltsft("compose", "--sft", trained.languages["bb"], "--output", "language")
    code = f"SENTENCE = {SENTENCE!r}\n{WITHOUT_LTSFT}"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    logits = load_file("logits.safetensors")

    task, language = (
        SparseFineTuning.from_pretrained(name) for name in (trained.task, trained.languages["bb"])
    )
    model = AutoModelForTokenClassification.from_pretrained(trained.base, num_labels=17)
    with task.apply(model), language.apply(model, whole=False):
        assert torch.equal(logits["tagger"], logits_of(model))
    assert not torch.equal(logits["tagger"], logits_of(model))

    model = AutoModelForMaskedLM.from_pretrained(trained.base)
    untie_output_embeddings(model)
    with language.apply(model):
        assert torch.equal(logits["language"], logits_of(model))


def test_the_checkpoint_is_complete(trained, ltsft):
    """Every weight, the label names, the tokenizer; nothing half-written beside it."""
    names = [trained.languages["bb"], trained.task]  # a language first: order is the user's
    out, err = ltsft(
        "compose", "--base", trained.base, "--sft", names[0], "--sft", names[1],
        "--output", "new/tagger",
    )  # fmt: skip
    assert err == []
    assert out.splitlines()[-1].startswith("Wrote BertForTokenClassification with ")
    assert [path.name for path in Path("new").iterdir()] == ["tagger"]

    saved = AutoModelForTokenClassification.from_pretrained("new/tagger")
    language, task = (SparseFineTuning.from_pretrained(name) for name in names)
    model = AutoModelForTokenClassification.from_pretrained(trained.base, num_labels=17)
    language.apply(model, whole=False)
    task.apply(model)
    for name, weight in model.state_dict().items():
        assert torch.equal(saved.state_dict()[name], weight), name
    assert list(saved.config.id2label.values()) == task.metadata.labels
    assert saved.config.label2id == {label: id for id, label in saved.config.id2label.items()}
    tokens = AutoTokenizer.from_pretrained("new/tagger")(SENTENCE)["input_ids"]
    assert tokens == tiny.tokenizer()(SENTENCE)["input_ids"]


@pytest.fixture
def unknown(trained) -> str:
    """A fine-tuning that says neither what it is for nor on what base; without a head."""
    sft = SparseFineTuning.from_pretrained(trained.languages["aa"])
    metadata = replace(sft.metadata, task=None, base_model=None)
    SparseFineTuning(sft.entries, {}, metadata).save_pretrained("unknown")
    return "unknown"


def test_an_unknown_task_needs_a_head(trained, unknown, ltsft):
    ltsft(
        "compose", "--base", trained.base, "--sft", unknown, "--head", "masked-lm",
        "--output", "model",
    )  # fmt: skip
    assert AutoModelForMaskedLM.from_pretrained("model").config.tie_word_embeddings is False


MISTAKES = {
    "no SFT": ([], "--sft.*--help"),
    "no such SFT": (["--sft", "missing"], "`missing` is expected to be the file or folder"),
    "no task among two": (
        ["--sft", "{aa}", "--sft", "{bb}"],
        "`--sft` is expected to name one SFT .*0 of .* are of a task; languages alone .*--as-sft",
    ),
    "two tasks": (
        ["--sft", "{task}", "--sft", "{unknown}", "--base", "{base}"],
        "2 of .* are of a task",
    ),
    "unknown task": (
        ["--sft", "{unknown}", "--base", "{base}"],
        "`--head` is expected where the SFT is of another task.*say one of masked-lm",
    ),
    "unknown base": (
        ["--sft", "{unknown}", "--head", "masked-lm"],
        "`--base` is expected where the SFTs do not name one base model",
    ),
    "no such base": (
        ["--sft", "{task}", "--base", "missing"],
        "`--base` is expected to be a folder with a pretrained model.*'missing'",
    ),
    "another base": (
        ["--sft", "{task}", "--base", "{other}"],
        "applied to the weights it was trained from .* load that model",
    ),
    "a head that nobody brings": (
        ["--sft", "{unknown}", "--base", "{base}", "--head", "token-classification"],
        "unknown is expected to bring the whole head of BertForTokenClassification, but lacks "
        "`classifier.bias`",
    ),
    "unknown head": (["--sft", "{task}", "--head", "parsing"], "--head: invalid choice: 'parsing'"),
    "the same twice": (
        ["--sft", "{task}", "--sft", "{aa}", "--sft", "{aa}"],
        "`--sft` is expected to name each SFT once, but got .*aa twice",
    ),
    "the same twice by other names": (
        ["--sft", "{task}", "--sft", "{aa}", "--sft", "{aa}/sft"],
        "expected to be applied once, but is in place already",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case, trained, unknown, ltsft, tmp_path):
    """One line each, and no folder."""
    args, message = MISTAKES[case]
    places = {
        "base": trained.base,
        "task": trained.task,
        "unknown": unknown,
        "other": tiny.save_base(tmp_path / "other", seed=1) if "{other}" in args else "",
        **trained.languages,
    }
    _, err = ltsft(
        "compose", *(arg.format(**places) for arg in args), "--output", "out/model", status=2
    )
    assert len(err) == 1
    assert re.search(message, err[0]), err
    assert not Path("out/model").exists()


def test_an_existing_folder_is_left_alone(trained, ltsft):
    Path("there").mkdir()
    ltsft("compose", "--sft", trained.task, "--output", "there")  # empty
    before = {path: path.read_bytes() for path in Path("there").iterdir()}
    _, err = ltsft("compose", "--sft", trained.task, "--output", "there", status=2)
    assert err == [
        "ltsft compose: `--output` is expected to be a new folder, but there exists already."
    ]
    assert {path: path.read_bytes() for path in Path("there").iterdir()} == before


def test_a_folder_that_cannot_be_made(trained, ltsft):
    Path("file").write_text("")
    _, (line,) = ltsft("compose", "--sft", trained.task, "--output", "file/model", status=2)
    assert "`--output` cannot be made" in line


def test_an_altered_file_is_refused(trained, ltsft):
    tensors = load_file(f"{trained.task}/sft/sft.safetensors")
    save_file(tensors, "other.safetensors")  # its metadata are gone
    _, (line,) = ltsft("compose", "--sft", "other.safetensors", "--output", "model", status=2)
    assert "`other.safetensors` is expected to hold a sparse fine-tuning" in line
