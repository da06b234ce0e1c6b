"""Heads beside tasks' adapters on AdapterHub."""

import json

import pytest
import torch
from transformers import AutoModelForTokenClassification, BertConfig

from ltsft.errors import LtsftError
from ltsft.exchange.adapterhub import read_adapter
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters
from tests.exchange.hub import H, L, about_new, about_old, tensors, write

LABELS = {"O": 0, "B-PER": 1, "I-PER": 2}
WHOLE = Adapters(language_reduction_factor=2, task_reduction_factor=4, leave_out=None)


def task_folder(folder, about=None, head=None, layers=range(L), **config):
    """A task's adapter, with a head where there is one to write."""
    folder = write(
        folder,
        about_old("text_task", reduction_factor=4) | {"name": "ner"} | (about or {}),
        tensors("ner", old=True, task=True, layers=layers, m=4, nice=False),
    )
    if head is not None:
        options = {"head_type": "tagging", "layers": 1, "label2id": LABELS} | config
        (folder / "head_config.json").write_text(json.dumps({"config": options, "name": "ner"}))
        torch.save(head, folder / "pytorch_model_head.bin")
    return folder


def linear(num_labels=3, names=("heads.ner.1.weight", "heads.ner.1.bias")):
    generator = torch.Generator().manual_seed(1)
    return dict(
        zip(
            names,
            (torch.randn(s, generator=generator) for s in ((num_labels, H), (num_labels,))),
            strict=True,
        )
    )


def test_a_tasks_adapter_is_kept_whole(tmp_path):
    """All its layers; options that would drop some are refused with what to set."""
    folder = task_folder(tmp_path)
    sft = read_adapter(folder, WHOLE, "task")
    layers = {name.split(".layer.")[1].split(".")[0] for name in sft.whole}
    assert layers == {"0", "1", "2"}
    with pytest.raises(LtsftError, match=r"in layers \[2\], which .*`null` leaves out none"):
        read_adapter(folder, Adapters(2, 4), "task")


def test_a_language_notes_what_was_dropped(tmp_path):
    write(tmp_path, about_new(leave_out=None), tensors())
    dropped = read_adapter(tmp_path, Adapters(2, 4), "language").metadata.extra["adapterhub"]
    assert dropped["dropped_layers"] == [2]
    whole = read_adapter(tmp_path, WHOLE, "language")
    assert "dropped_layers" not in whole.metadata.extra["adapterhub"]
    assert len(whole.whole) == 4 * L + 8


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("heads.ner.1.weight", "heads.ner.1.bias"), "tagging"),
        (("classifier.weight", "classifier.bias"), None),
    ],
)
def test_the_head_of_tags_is_that_of_transformers(tmp_path, names, kind):
    """It scores as the linear layer it was, on a model of its labels."""
    head = linear(names=names)
    sft = read_adapter(task_folder(tmp_path, head=head, head_type=kind), WHOLE, "task")
    assert (sft.metadata.task, sft.metadata.labels) == ("ner", list(LABELS))
    config = BertConfig(
        vocab_size=30, hidden_size=H, num_hidden_layers=L, num_attention_heads=2,
        intermediate_size=24, num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config).eval()
    insert_adapters(model, WHOLE)
    sft.apply(model, check_base=False)
    ids = torch.randint(5, 30, (2, 6))
    with torch.no_grad():
        states = model.bert(ids).last_hidden_state
        expected = torch.nn.functional.linear(states, *head.values())
        torch.testing.assert_close(model(ids).logits, expected)


def test_the_head_of_questions(tmp_path):
    head = linear(2, ("heads.qa.1.weight", "heads.qa.1.bias"))
    folder = task_folder(tmp_path, head=head, head_type="question_answering", label2id=None)
    sft = read_adapter(folder, WHOLE, "task")
    assert (sft.metadata.task, sft.metadata.labels) == ("qa", None)
    assert torch.equal(sft.whole["qa_outputs.weight"], head["heads.qa.1.weight"])


def test_it_may_be_left_out(tmp_path):
    folder = task_folder(tmp_path, head={"heads.ner.1.weight": torch.zeros(2)})
    sft = read_adapter(folder, WHOLE, "task", head=False)
    assert sft.metadata.labels is None
    assert not any(name.startswith("classifier") for name in sft.whole)


@pytest.mark.parametrize(
    ("head", "config", "message"),
    [
        (linear(), {"head_type": "classification"}, "one linear layer .*'classificat"),
        (linear() | {"heads.ner.4.bias": torch.zeros(3)}, {}, "one linear layer .*`head=False`"),
        ({"heads.ner.1.weight": torch.zeros(3, 5), "heads.ner.1.bias": torch.zeros(3)}, {},
         r"weight \[labels, 16\] and a bias .* \(3, 5\)"),
        ({k: v * torch.nan for k, v in linear().items()}, {}, "a tensor of finite numbers"),
        (linear(), {"label2id": {"O": 0, "X": 2}}, "`label2id` of its head .* 3 labels from 0"),
    ],
)  # fmt: skip
def test_other_heads_are_refused(tmp_path, head, config, message):
    with pytest.raises(LtsftError, match=message):
        read_adapter(task_folder(tmp_path, head=head, **config), WHOLE, "task")
