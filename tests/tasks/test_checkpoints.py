"""No class is built from a checkpoint's values, nor from what a config has for a model's."""

from pathlib import Path

import pytest
import torch

from ltsft.errors import LtsftError
from ltsft.tasks import Parser, Tagger, Task
from tests.callbacks.plain import trainer
from tests.tiny import save_base

BUILT = []


class Evil:
    """Says that it was built."""

    def __init__(self, x: int = 0) -> None:
        BUILT.append(x)


EVIL = {"class_path": f"{__name__}.Evil", "init_args": {"x": 1}}

PLACES = {
    "value": {"model_config": {"x": EVIL}},
    "list": {"model_config": {"x": [1, EVIL]}},
    "nested": {"model_config": {"x": {"y": [{"z": EVIL}]}}},
    "itself": {"model_config": EVIL},
    "adapters": {"adapters": EVIL},
    "unknown": {"whatever": EVIL},
}


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a tagger."""
    task = Tagger(base_model=save_base(tmp_path / "base"), labels=["A", "B"])
    run = trainer()
    run.strategy.connect(task)
    run.save_checkpoint(tmp_path / "a.ckpt")
    return str(tmp_path / "a.ckpt")


def altered(path: str, options: dict) -> str:
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"] |= options
    checkpoint["hyper_parameters"] |= {
        "_class_path": "ltsft.tasks.Tagger",
        "_instantiator": "lightning.pytorch.cli.instantiate_module",
    }
    torch.save(checkpoint, "altered.ckpt")
    return "altered.ckpt"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("load", [Task.load_from_checkpoint, Tagger.load_from_checkpoint])
def test_a_class_in_it_is_refused(place, load, saved):
    with pytest.raises(LtsftError, match=r"names a class to be built \(`class_path`\)") as caught:
        load(altered(saved, PLACES[place]))
    assert "\n" not in str(caught.value)
    assert BUILT == []


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_class_in_it_is_refused_by_commands(command, saved, ltsft):
    path = altered(saved, PLACES["nested"])
    data = ["--data", "TaggingData", "--data.train", "x.conllu", "--data.test", "x.conllu"]
    Path("x.conllu").write_text("1\tw1\t_\tA\t_\t_\t0\tdep\t_\t_\n\n")
    model = ["--model", "Tagger", "--model.base_model", "base"] if command == "fit" else []
    _, (line,) = ltsft(command, *model, *data, "--ckpt_path", path, status=2)
    assert "`hyper_parameters.model_config.x.y.0.z`" in line
    assert BUILT == []


@pytest.mark.parametrize("value", ["{x: EVIL}", "{x: [EVIL]}", "{x: {y: [EVIL]}}"])
def test_a_config_makes_no_object_in_a_models(value, saved, ltsft):
    text = value.replace("EVIL", f"{{class_path: {__name__}.Evil}}")
    Path("x.conllu").write_text("1\tw1\t_\tA\t_\t_\t0\tdep\t_\t_\n\n")
    ltsft(
        "fit", "--model", "Tagger", "--model.base_model", "base", "--model.model_config", text,
        "--data", "TaggingData", "--data.train", "x.conllu", status=2,
    )  # fmt: skip
    assert BUILT == []


def test_its_weights_and_options_come_back_from_either_class(saved):
    """Also where Lightning's command line noted who is to build it."""
    first = Tagger.load_from_checkpoint(saved)
    module = Task.load_from_checkpoint(altered(saved, {"learning_rate": 0.5}))
    assert type(module) is Tagger
    assert module.labels == ["A", "B"]
    assert module.learning_rate == 0.5
    for name, value in first.state_dict().items():
        assert torch.equal(module.state_dict()[name], value)
    assert Tagger.load_from_checkpoint(saved, weight_decay=0.25).weight_decay == 0.25


def test_of_another_class(saved):
    with pytest.raises(LtsftError, match="of a known task, but is of 'ltsft.tasks.Tagger'"):
        Parser.load_from_checkpoint(altered(saved, {}))
    with pytest.raises(LtsftError, match="of a known task, but is of ''"):
        Task.load_from_checkpoint(saved)
