"""``ltsft inspect``: its numbers are those counted in the file's tensors."""

import json

import pytest
from safetensors import safe_open
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification


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
