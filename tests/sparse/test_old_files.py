"""Files of every released format load, and say what they said.

Those in ``tests/data_files/sft`` were written by version 0.1.0 with ``ltsft fit`` on a random BERT
of 16 units (``tests.tiny.save_base``), six steps in each phase: a language with L1, a tagger over
it, a tagger with two rounds that keeps the dense phase's weights, and an adapter of a language.
"""

from typing import NamedTuple

import pytest
import torch
from transformers import AutoModelForTokenClassification

from ltsft.data.labels import UPOS
from ltsft.sparse import SparseFineTuning
from ltsft.tasks import Tagger
from tests.documented import ROOT
from tests.tiny import save_base

FOLDER = ROOT / "tests/data_files/sft"


class Content(NamedTuple):
    """What a reader of safetensors found in a file when it was written."""

    num_params: int
    sum_of_sizes: float
    sum_of_positions: int
    num_whole: int
    sum_of_whole: float


CONTENTS = {
    "language": Content(300, 0.023112671749231595, 59631, 3, 0.20632316165460907),
    "task": Content(200, 0.032593887037364766, 25601, 2, 0.1453003481583437),
    "rounds": Content(100, 0.04920272060553543, 10766, 2, 0.13107254082569852),
    "adapter": Content(0, 0.0, 0, 12, 0.20381008400818246),
}

METADATA = {
    "language": {
        "task": "masked-lm",
        "language": "aa",
        "selection": "LargestChange",
        "rounds": "Growing(1)",
        "rewinding": "ToStart",
        "num_maskable": 5984,
    },
    "task": {"task": "pos", "labels": UPOS, "trained_with": ["language"], "num_params": 200},
    "rounds": {"rounds": "Growing(2)", "rewinding": "LearningRate", "labels": UPOS},
    "adapter": {"task": "masked-lm", "selection": "NoEntries", "rewinding": None},
}


def load(name: str) -> SparseFineTuning:
    return SparseFineTuning.load(FOLDER / f"0.1.0-{name}.safetensors")


@pytest.mark.parametrize("name", CONTENTS)
def test_entries_whole_tensors_and_metadata(name):
    sft = load(name)
    values = [delta.values.double().abs().sum() for delta in sft.entries.values()]
    assert (
        Content(
            sft.num_params,
            pytest.approx(float(sum(values)), rel=1e-12),
            sum(int(delta.indices.sum()) for delta in sft.entries.values()),
            len(sft.whole),
            pytest.approx(float(sum(t.double().sum() for t in sft.whole.values())), rel=1e-12),
        )
        == CONTENTS[name]
    )
    metadata = vars(sft.metadata)
    assert {key: metadata[key] for key in METADATA[name]} == METADATA[name]
    assert metadata["versions"]["ltsft"] == "0.1.0"
    assert sft.metadata.extra == {}


def test_files_of_all_kinds_are_there():
    assert {path.name for path in FOLDER.iterdir()} == {f"0.1.0-{n}.safetensors" for n in CONTENTS}


@pytest.mark.parametrize("name", ["language", "task", "rounds"])
def test_they_go_in_and_out_of_a_model(tmp_path, name):
    """The random base of then is lost, so another of its shape has to do."""
    base = save_base(tmp_path / "base")
    model = AutoModelForTokenClassification.from_pretrained(base, num_labels=17)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sft = load(name)
    with sft.apply(model, check_base=False, whole=name != "language"):
        moved = {k: int((v != before[k]).sum()) for k, v in model.state_dict().items()}
        changes = sum(int((delta.values != 0).sum()) for delta in sft.entries.values())
        in_entries = sum(num for key, num in moved.items() if not key.startswith("classifier"))
        assert 0.95 * changes <= in_entries <= changes  # a few are too small for a random base
        assert bool(moved["classifier.weight"]) == (name != "language")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_adapter_fills_its_slot(tmp_path):
    base = save_base(tmp_path / "base")
    options = {"language_reduction_factor": 4, "task_reduction_factor": 4}
    task = Tagger(base_model=base, labels=UPOS, adapters=options)
    sft = load("adapter")
    with sft.apply(task.model, check_base=False):
        state = task.model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in sft.whole.items())
