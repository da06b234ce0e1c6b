"""Options, sizes and counts of adapters."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertModel

from ltsft.errors import LtsftError
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters, slot_modules
from ltsft.modules.adapters.slot import AdapterSlot
from ltsft.sparse import Budget

TABLE = [
    # r, m, 11 layers, 12 layers, 11 layers + invertible, 12 layers + invertible
    (1, 768, 12_993_024, 14_174_208, 13_289_088, 14_470_272),
    (2, 384, 6_500_736, 7_091_712, 6_796_800, 7_387_776),
    (8, 96, 1_631_520, 1_779_840, 1_927_584, 2_075_904),
    (16, 48, 819_984, 894_528, 1_116_048, 1_190_592),
    (32, 24, 414_216, 451_872, 710_280, 747_936),
]
"""Parameters of adapters in a BERT base."""


@pytest.mark.parametrize(
    ("factor", "width", "eleven", "twelve", "eleven_nice", "twelve_nice"), TABLE
)
def test_the_formula_is_what_a_bert_base_gets(
    factor, width, eleven, twelve, eleven_nice, twelve_nice
):
    """Counted in a real BertModel's shapes, and compared with the table's numbers."""
    with torch.device("meta"):
        model = BertModel(BertConfig(vocab_size=10), add_pooling_layer=False)
        before = sum(parameter.numel() for parameter in model.parameters())
        slots = insert_adapters(
            model,
            Adapters(language_reduction_factor=factor, task_reduction_factor=factor),
        )
    counts = {
        name: sum(p.numel() for m in slot_modules(model, name).values() for p in m.parameters())
        for name in slots
    }
    assert counts == {"language": eleven_nice, "task": eleven}
    assert sum(parameter.numel() for parameter in model.parameters()) - before == sum(
        counts.values()
    )
    assert {name: slot.num_params() for name, slot in slots.items()} == counts
    assert slots["task"].width == width
    full = Adapters(factor, factor, leave_out=[]).slots(768, 12)
    assert [full[name].num_params() for name in ("language", "task")] == [twelve_nice, twelve]


def test_nominal_numbers_are_the_papers():
    """Ansell et al. (2022), §4.3: 14,155,776 / r for tasks, 7,667,712 for languages."""
    for factor in (1, 2, 4, 8, 16, 32):
        slots = Adapters(task_reduction_factor=factor).slots(768, 12)
        assert slots["task"].nominal_num_params() == 14_155_776 // factor
    assert slots["language"].nominal_num_params() == 7_667_712
    assert "6,796,800 parameters in 11 of 12 layers" in slots["language"].explain()
    assert "7,667,712, which counts 12 layers" in slots["language"].explain()


@pytest.mark.parametrize(
    ("factor", "own", "same"),
    [
        (16, "16 = 768 / 48", True),
        (0.5, "0.5 = 768 / 1536", True),
        (5, "5.01961 = 768 / 153", False),
        (7, "7.04587 = 768 / 109", False),
        (1000, "768 = 768 / 1", False),
    ],
)
def test_nominal_numbers_are_budgets_of_the_factor_that_is_said(factor, own, same):
    """The factor is read out of the text; it is the one asked for where that divides h."""
    model = torch.nn.Module()
    model.config = SimpleNamespace(num_hidden_layers=12, hidden_size=768)
    for slot in Adapters(factor, factor).slots(768, 12).values():
        assert slot.explain().endswith(f"; it is that of reduction factor {own}")
        width = int(own.rpartition(" ")[2])

        def budget(reduction_factor, slot=slot):
            invertible = slot.invertible_width is not None
            return Budget(reduction_factor=reduction_factor, invertible=invertible).resolve(
                model, num_maskable=10**9
            )

        assert slot.nominal_num_params() == budget(768 / width)
        assert (slot.nominal_num_params() == budget(factor)) == same


def test_mad_x_as_its_paper_counts_it():
    """Pfeiffer et al. (2020), §7: 8.25 million for language, task and inverse, weights alone."""
    slots = Adapters(leave_out=[]).slots(768, 12)
    biases = 12 * (384 + 768) + 12 * (48 + 768) + 2 * (192 + 384)
    assert sum(slot.num_params() for slot in slots.values()) - biases == 8_257_536


@pytest.mark.parametrize(("factor", "width"), [(5, 153), (0.5, 1536), (1000, 1), (3.5, 219)])
def test_widths_are_rounded_down_and_at_least_one(factor, width):
    assert Adapters(task_reduction_factor=factor).slots(768, 12)["task"].width == width


def test_layers_that_are_left_out_are_stored_resolved():
    slots = Adapters(leave_out=[-1, 0, 3]).slots(8, 4)
    assert slots["task"].layers == slots["language"].layers == [1, 2]


def test_a_language_is_trained_without_a_slot_above_it():
    assert list(Adapters().slots(8, 2, "language")) == ["language"]
    assert list(Adapters(language_reduction_factor=None).slots(8, 2)) == ["task"]


@pytest.mark.parametrize(
    "options",
    [
        Adapters(),
        Adapters(5, 2.5, invertible=False, leave_out=[0, 2], stacking="paper", activation="gelu"),
        Adapters(1, 0.5, leave_out=[], invertible_activation="gelu_new"),
        Adapters(None, 3),
        Adapters(None, 3, stacking="paper"),
    ],
)
def test_options_can_be_told_from_a_slot(options):
    """So that a message, or `ltsft inspect`, can say what a model needs for an adapter."""
    for name, slot in options.slots(768, 12).items():
        again = Adapters.of_slot(slot)
        assert again.slots(768, 12, name)[name] == slot


def test_every_width_has_a_reduction_factor():
    for width in range(1, 1537):
        slot = AdapterSlot(768, 2, [0], width, "relu", stacking="code")
        assert Adapters.of_slot(slot).slots(768, 2)["task"].width == width


def test_slots_survive_json():
    for slot in Adapters().slots(8, 2).values():
        assert AdapterSlot.from_json(slot.to_json()) == slot


@pytest.mark.parametrize("values", [None, {"width": 3}, {"colour": 1}, "x", [1]])
def test_a_strange_description_is_refused(values):
    with pytest.raises(LtsftError, match="description of an adapter slot"):
        AdapterSlot.from_json(values)


@pytest.mark.parametrize(
    "wrong",
    [{"layers": 3}, {"width": "3"}, {"width": 0}, {"num_layers": 10**9}, {"hidden_size": True}],
)
def test_descriptions_with_wrong_numbers_are_refused(wrong):
    values = Adapters().slots(8, 2)["task"].to_json() | wrong
    with pytest.raises(LtsftError, match="description of an adapter slot"):
        AdapterSlot.from_json(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language_reduction_factor": 0}, "language_reduction_factor` .* above 0, but got 0"),
        ({"task_reduction_factor": -2.0}, "task_reduction_factor` .* above 0, but got -2.0"),
        ({"activation": "swish"}, "`adapters.activation` .* but got 'swish'"),
        ({"invertible_activation": "tanh"}, "`adapters.invertible_activation` .* 'tanh'"),
        ({"stacking": "both"}, "`adapters.stacking` .* code, paper, but got 'both'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(LtsftError, match=message):
        Adapters(**options)


@pytest.mark.parametrize(
    ("options", "trained", "message"),
    [
        ({"leave_out": [4]}, "task", "layers from -4 to 3 of this encoder, but got 4"),
        ({"leave_out": [-5]}, "task", "layers from -4 to 3 of this encoder, but got -5"),
        ({"leave_out": [0, 1, 2, -1]}, "task", "leave a layer with adapters, but names all 4"),
        ({"task_reduction_factor": None}, "task", "task_reduction_factor` is expected to be a num"),
        ({"language_reduction_factor": None}, "language", "language_reduction_factor` is expected"),
    ],
)
def test_options_that_do_not_suit_the_encoder_are_refused(options, trained, message):
    with pytest.raises(LtsftError, match=message):
        Adapters(**options).slots(8, 4, trained)


def test_the_defaults_are_mad_x_2():
    assert asdict(Adapters()) == {
        "language_reduction_factor": 2,
        "task_reduction_factor": 16,
        "invertible": True,
        "leave_out": [-1],
        "stacking": "code",
        "activation": "relu",
        "invertible_activation": "relu",
    }
