"""``ltsft inspect``: its numbers are those counted in the file's tensors."""

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification

from ltsft.errors import LtsftError
from ltsft.modules.adapters.adapters import Adapters
from ltsft.sparse import Metadata, SparseDelta, SparseFineTuning


def counted(folder: str) -> dict[str, int]:
    """Entries per tensor, counted in the file without our reader."""
    with safe_open(f"{folder}/sft/sft.safetensors", "pt") as file:
        keys = [key for key in file.keys() if key.startswith("values/")]  # noqa: SIM118
        return {key.removeprefix("values/"): len(file.get_tensor(key)) for key in keys}


def test_json(trained, ltsft):
    out, err = ltsft("inspect", "--json", trained.task, trained.languages["bb"])
    assert err == []
    task, language = json.loads(out)
    assert (task["sft"], language["sft"]) == (trained.task, trained.languages["bb"])
    for said in (task, language):
        expected = counted(said["sft"])
        assert {t["name"]: t["num_params"] for t in said["tensors"]} == expected
        counts = [t["num_params"] for t in said["tensors"]]
        assert counts == sorted(counts, reverse=True)
        assert said["num_params"] == sum(expected.values()) == round(0.1 * said["num_maskable"])
        assert said["density"] == pytest.approx(0.1, abs=1e-3)
        assert said["density_of_model"] == said["num_params"] / said["num_total"]
        assert said["reduction_factor"] == pytest.approx(2 * 2 * 16**2 / said["num_params"])
        assert said["base_model"] == trained.base
        assert said["phases"]["dense"]["steps"] == said["phases"]["sparse"]["steps"] == 2

    assert (task["task"], task["language"]) == ("pos", "aa")
    assert task["trained_with"] == [trained.languages["aa"]]
    assert task["whole"] == {"classifier.bias": [17], "classifier.weight": [17, 16]}
    assert task["num_whole"] == 17 * 17
    assert (language["task"], language["language"]) == ("masked-lm", "bb")
    model = AutoModelForTokenClassification.from_pretrained(trained.base, num_labels=17)
    assert task["num_total"] == sum(p.numel() for p in model.parameters())
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}
    assert all(shapes[tensor["name"]] == tensor["shape"] for tensor in task["tensors"])


def test_maskable_is_the_encoder_without_normalisation(trained, ltsft):
    (said,) = json.loads(ltsft("inspect", "--json", trained.languages["aa"]).out)
    model = AutoModelForMaskedLM.from_pretrained(trained.base)
    names = {n: p.numel() for n, p in model.bert.named_parameters() if "LayerNorm" not in n}
    assert said["num_maskable"] == sum(names.values())


def test_text(trained, ltsft):
    out, err = ltsft("inspect", trained.task)
    assert err == []
    (said,) = json.loads(ltsft("inspect", "--json", trained.task).out)
    lines = out.splitlines()
    assert lines[0] == trained.task
    assert "  task:          pos" in lines
    assert f"  trained over:  {trained.languages['aa']}" in lines
    assert any(line.startswith("  labels:        ADJ, ADP, ADV, AUX") for line in lines)
    share = said["num_params"] / said["num_maskable"]
    assert f"{said['num_params']:,}, {share:.2%} of {said['num_maskable']:,} maskable" in out
    assert "  dense phase:   steps 2, monitor val_accuracy" in out
    num_tensors = len(said["tensors"])
    assert f"and {num_tensors - 10} more tensors (--all)" in lines
    everything = ltsft("inspect", "--all", trained.task).out
    for tensor in said["tensors"]:
        assert f"| {tensor['name']} " in everything
    assert "more tensors" not in everything


def test_mistakes(trained, ltsft):
    _, (line,) = ltsft("inspect", "missing", status=2)
    assert line.startswith("ltsft inspect: `missing` is expected to be the file or folder")
    _, (line,) = ltsft("inspect", trained.base, status=2)
    assert "is expected to hold `sft.safetensors`, but does not" in line
    _, (line,) = ltsft("inspect", trained.checkpoint, status=2)
    assert "is expected to be a safetensors file" in line
    _, (line,) = ltsft("inspect", status=2)
    assert line == (
        "ltsft inspect: the following arguments are required: SFT; see `ltsft inspect --help`."
    )


def test_what_others_wrote_does_not_command_the_terminal(tmp_path, ltsft):
    """Line ends and changes of direction in texts, which may be there; others are not read."""
    extra = {"note": "a\n  task:          pos", "name": "\u202egnp.exe"}
    entries = {"w": SparseDelta((0, 3), torch.zeros(0).int(), torch.zeros(0))}
    SparseFineTuning(entries, {}, Metadata(extra=extra)).save_pretrained(tmp_path)
    out, err = ltsft("inspect", str(tmp_path))
    assert err == []
    assert [line for line in out.splitlines() if "task:" in line] == [
        "  task:          unknown",
        r"  note:          a\n  task:          pos",
    ]
    assert r"  name:          \u202egnp.exe" in out
    assert "0.00%" in out

    escapes = Metadata(extra={"note": "\x1b[2J"})
    with pytest.raises(LtsftError, match=r"the character '\\x1b' in a text"):
        SparseFineTuning(entries, {}, escapes).save_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"num_layers": 10**12}, {"hidden_size": 0}, {"width": 2**40}, {"layers": [7]}, {"layers": "0"},
     {"activation": ["relu"]}, {"over": 3}, {"stacking": 3}],
)  # fmt: skip
def test_the_description_of_an_adapter_that_is_none(tmp_path, ltsft, change):
    """In one line, and without a list of 10¹² layers."""
    slot = Adapters(2, 4).slots(16, 3)["task"].to_json() | change
    SparseFineTuning({}, {}, Metadata(slots={"task": slot})).save_pretrained(tmp_path)
    out, err = ltsft("inspect", str(tmp_path), status=2)
    assert len(err) == 1
    assert "is expected" in err[0]
