"""Slots in real encoders: exact when empty, the formulas when filled."""

import copy

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForTokenClassification,
    BertConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from ltsft.errors import LtsftError
from ltsft.modules import untie_output_embeddings
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters, neighbours, slot_modules
from ltsft.sparse import Metadata, SparseFineTuning
from tests.tiny import CONFIGS

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "pad_token_id": 1,
    "max_position_embeddings": 40,
}
KINDS = {"bert": BertConfig, "roberta": RobertaConfig, "xlmr": XLMRobertaConfig}
CLASSES = [AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification]
LAYER = "encoder.layer.0.output"
ALL = Adapters(language_reduction_factor=2, task_reduction_factor=4)


@pytest.fixture(params=list(KINDS))
def config(request):
    return KINDS[request.param](**SIZES)


def build(auto_class, config, dtype=torch.float32):
    torch.manual_seed(0)
    model = auto_class.from_config(config, dtype=dtype).eval()
    for name, parameter in model.named_parameters():  # no normalisation is trivial
        if "norm" in name.lower():
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    return model


def fill(model, slot, scale=0.3, seed=1):
    torch.manual_seed(seed)
    for module in slot_modules(model, slot).values():
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=scale)


def inputs(padded=True):
    torch.manual_seed(2)
    ids = torch.randint(5, 60, (3, 9))
    mask = torch.ones_like(ids)
    if padded:
        ids[1, 5:], mask[1, 5:] = 1, 0
    return {"input_ids": ids, "attention_mask": mask}


def output(model, **settings):
    with torch.no_grad():
        return model(**inputs(**settings))[0]


@pytest.mark.parametrize("auto_class", CLASSES)
@pytest.mark.parametrize("stacking", ["code", "paper"])
@pytest.mark.parametrize("trained", ["language", "task"])
def test_empty_slots_change_nothing_to_the_bit(auto_class, config, stacking, trained):
    plain = build(auto_class, config)
    model = copy.deepcopy(plain)
    insert_adapters(model, Adapters(leave_out=[], stacking=stacking), trained)
    assert torch.equal(output(model), output(plain))


def test_pretrained_names_and_values_stay(config):
    plain = build(AutoModelForMaskedLM, config)
    model = copy.deepcopy(plain)
    insert_adapters(model, ALL)
    state = model.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(state.pop(name), value)
    prefix = plain.base_model_prefix
    layers = {f"{prefix}.encoder.layer.{n}.output.adapters" for n in (0, 1)}
    assert {name.rsplit(".", 3)[0] for name in state} == layers | {
        f"{prefix}.embeddings.invertible"
    }
    assert len(state) == 2 * 2 * 4 + 8


def reference(model, plain, stacking, slots):
    """The encoder with adapters, from the formulas, raw weights and `plain`'s other parts.

    No padding, evaluation mode. `slots`: which adapters are there at all.
    """
    encoder, base = model.base_model, plain.base_model
    state = dict(encoder.named_parameters())

    def adapter(path, z):
        down = F.linear(z, state[f"{path}.down.weight"], state[f"{path}.down.bias"])
        return F.linear(down.clamp(min=0), state[f"{path}.up.weight"], state[f"{path}.up.bias"])

    h = base.embeddings(input_ids=inputs()["input_ids"][:1])
    if "language" in slots:
        e1, e2 = h[..., :8], h[..., 8:]
        y1 = e1 + adapter("embeddings.invertible.f", e2)
        h = torch.cat([y1, e2 + adapter("embeddings.invertible.g", y1)], -1)
    for number, layer in enumerate(base.encoder.layer):
        x = layer.attention(h)[0]
        u = layer.output.dense(layer.intermediate(x))

        def norm(z, layer=layer):
            ln = layer.output.LayerNorm
            return F.layer_norm(z, (16,), ln.weight, ln.bias, ln.eps)

        a = u
        here = [s for s in ("language", "task") if s in slots and number != 2]
        for place, slot in enumerate(here):
            path = f"encoder.layer.{number}.output.adapters.{slot}"
            if stacking == "code":
                a = adapter(path, norm(a + x)) + a
            else:
                a = adapter(path, norm(u + x) if place == 0 else a) + u
        h = norm(a + x)
    return h


def encoded(model):
    """The encoder's output on the input that :func:`reference` reads."""
    return model(input_ids=inputs()["input_ids"][:1])[0]


def check_formulas(model, plain, stacking, slots):
    with torch.no_grad():
        expected = reference(model, plain, stacking, slots)
        torch.testing.assert_close(encoded(model), expected, rtol=0, atol=1e-12)
        if slots:
            assert (expected - encoded(plain)).abs().max() > 0.1


@pytest.mark.parametrize("stacking", ["code", "paper"])
@pytest.mark.parametrize("slots", [["language"], ["task"], ["language", "task"]])
@pytest.mark.parametrize("others", ["empty", "none"])
def test_the_formulas(config, stacking, slots, others):
    """One adapter, the other, or both, the other's slot being empty or not there at all.

    Layer 2 of 0 … 2 is left out. Float64, 1e-12.
    """
    plain = build(AutoModel, config, torch.float64)
    model = copy.deepcopy(plain)
    factor = 2 if "language" in slots or others == "empty" else None
    top = "task" if others == "empty" else slots[-1]
    insert_adapters(model, Adapters(factor, 4, stacking=stacking), top)
    for slot in slots:
        fill(model, slot)
    check_formulas(model, plain, stacking, slots)


def test_the_stackings_differ_and_an_empty_task_slot_keeps_the_language(config):
    """To the bit the language's adapters alone, in either form."""
    plain = build(AutoModel, config)
    model = copy.deepcopy(plain)
    insert_adapters(model, ALL, "language")
    fill(model, "language")
    language = output(model)
    filled = []
    for stacking in ("code", "paper"):
        both = copy.deepcopy(plain)
        insert_adapters(both, Adapters(2, 4, stacking=stacking))
        fill(both, "language")
        assert torch.equal(output(both), language)
        fill(both, "task")
        filled.append(output(both))
    assert not torch.equal(*filled)


@pytest.mark.parametrize("stacking", ["code", "paper"])
def test_an_empty_language_slot_is_as_good_as_none(config, stacking):
    """A task's adapter tested without a language: one adapter alone, to the bit."""
    alone, over_empty = build(AutoModel, config), build(AutoModel, config)
    insert_adapters(alone, Adapters(None, 4, stacking=stacking))
    insert_adapters(over_empty, Adapters(2, 4, stacking=stacking))
    fill(alone, "task")
    fill(over_empty, "task")
    assert torch.equal(output(alone), output(over_empty))


def as_fine_tuning(model, slot):
    """What a slot holds, as a file would have it."""
    return SparseFineTuning(
        {},
        {
            f"bert.{path}.{name}": parameter.detach().clone()
            for path, module in slot_modules(model, slot).items()
            for name, parameter in module.named_parameters()
        },
        Metadata(slots={slot: model.adapter_slots[slot]}),
    )


@pytest.mark.parametrize("stacking", ["code", "paper"])
def test_slots_are_filled_and_emptied_by_all_that_puts_weights_in(stacking):
    """Apply, revert, swap, deep copies and states, in any order: always the formulas. 1e-12."""
    plain = build(AutoModel, BertConfig(**SIZES), torch.float64)
    model = copy.deepcopy(plain)
    insert_adapters(model, Adapters(2, 4, stacking=stacking))
    empty = copy.deepcopy(model)
    languages = []
    for seed in (3, 4):
        source = copy.deepcopy(empty)
        fill(source, "language", seed=seed)
        languages.append(as_fine_tuning(source, "language"))
    source = copy.deepcopy(empty)
    fill(source, "task", seed=5)
    task = as_fine_tuning(source, "task")

    def check(slots, checked=model):
        check_formulas(checked, plain, stacking, slots)

    check([])
    with languages[0].apply(model):
        check(["language"])
        with task.apply(model):
            check(["language", "task"])
        check(["language"])
    check([])
    applied = task.apply(model)
    check(["task"])
    for language in (*languages, languages[0]):
        with language.apply(model):
            check(["language", "task"])
            both, copied = copy.deepcopy(model.state_dict()), copy.deepcopy(model)
        check(["task"])
    check(["language", "task"], copied)
    check(["task"], copy.deepcopy(model))
    loaded = copy.deepcopy(empty)
    for state, slots in ((both, ["language", "task"]), (model.state_dict(), ["task"])):
        loaded.load_state_dict(state)
        check(slots, loaded)
    applied.revert()
    check([])
    loaded.load_state_dict(model.state_dict())
    check([], loaded)


@pytest.mark.parametrize("stacking", ["code", "paper"])
@pytest.mark.parametrize("slots", [["task"], ["language", "task"]])
def test_gradients_of_the_task_with_and_without_a_language(stacking, slots):
    """Those of the formulas, by autograd through the reference. Float64, 1e-10."""
    plain = build(AutoModel, BertConfig(**SIZES), torch.float64)
    model = copy.deepcopy(plain)
    insert_adapters(model, Adapters(2, 4, stacking=stacking))
    for slot in slots:
        fill(model, slot)
    weights = [p for module in slot_modules(model, "task").values() for p in module.parameters()]
    got = torch.autograd.grad(encoded(model).pow(3).sum(), weights)
    expected = torch.autograd.grad(reference(model, plain, stacking, slots).pow(3).sum(), weights)
    assert all(gradient.abs().max() > 1e-3 for gradient in expected)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_an_adapter_that_starts_with_a_zero_up_projection_learns(config):
    """It is filled, though it adds nothing yet."""
    model = build(AutoModel, config)
    insert_adapters(model, Adapters(2, 4, stacking="paper"))
    fill(model, "task")
    adapter = slot_modules(model, "task")[f"{LAYER}.adapters.task"]
    torch.nn.init.zeros_(adapter.up.weight)
    torch.nn.init.zeros_(adapter.up.bias)
    output_of_model = model(**inputs())[0]
    (gradient,) = torch.autograd.grad(output_of_model.pow(3).sum(), [adapter.up.weight])
    assert gradient.abs().max() > 1e-4


def test_the_masked_lm_undoes_the_embeddings_before_the_output_matrix(config):
    """With the block alone between the two: the head sees inverse(LN(...)). Float64, 1e-12."""
    plain = build(AutoModelForMaskedLM, config, torch.float64)
    untie_output_embeddings(plain)
    model = copy.deepcopy(plain)
    insert_adapters(model, ALL, "language")
    fill(model, "language")
    with torch.no_grad():
        hidden = model.base_model(**inputs()).last_hidden_state
        if hasattr(plain, "cls"):
            states = plain.cls.predictions.transform(hidden)
            decoder = plain.cls.predictions.decoder
        else:
            states = plain.lm_head.layer_norm(F.gelu(plain.lm_head.dense(hidden)))
            decoder = plain.lm_head.decoder
        block = model.base_model.embeddings.invertible
        expected = F.linear(block.inverse(states), decoder.weight, decoder.bias)
        assert (expected - F.linear(states, decoder.weight, decoder.bias)).abs().max() > 0.01
    torch.testing.assert_close(output(model), expected, rtol=0, atol=1e-12)


def test_gradient_reaches_the_block_from_both_its_uses(config):
    """The whole gradient is the sum of the parts through the embeddings and through the output."""
    model = build(AutoModelForMaskedLM, config, torch.float64)
    insert_adapters(model, ALL, "language")
    fill(model, "language")
    block = model.base_model.embeddings.invertible
    weights = list(block.parameters())

    def gradients():
        return torch.autograd.grad(model(**inputs()).logits.pow(2).mean(), weights)

    whole = gradients()
    constant = copy.deepcopy(block).requires_grad_(False)
    parts = []
    for use in ("forward", "inverse"):
        setattr(block, use, getattr(constant, use))
        parts.append(gradients())
        delattr(block, use)
    for total, at_output, at_input in zip(whole, *parts, strict=True):
        assert at_output.abs().max() > 1e-6
        assert at_input.abs().max() > 1e-6
        torch.testing.assert_close(at_output + at_input, total, rtol=0, atol=1e-12)


def test_a_deep_copy_calls_its_own_adapters():
    plain = build(AutoModelForMaskedLM, BertConfig(**SIZES))
    model = copy.deepcopy(plain)
    insert_adapters(model, ALL, "language")
    other = copy.deepcopy(model)
    fill(other, "language")
    assert torch.equal(output(model), output(plain))
    fill(model, "language", seed=5)
    third = copy.deepcopy(model)
    assert torch.equal(output(third), output(model))


def test_dropout_comes_before_the_adapter_and_only_once():
    """In training mode, all dropped: u = 0, so the adapter reads LN(x) and adds to nothing."""
    model = build(AutoModel, BertConfig(**SIZES))
    insert_adapters(model, ALL, "language")
    fill(model, "language")
    end = model.encoder.layer[0].output
    end.dropout.p, x = 1.0, torch.randn(1, 2, 16)
    end.train()
    with torch.no_grad():
        expected = end.LayerNorm(end.adapters["language"](end.LayerNorm(x)) + x)
        assert torch.equal(end(torch.randn(1, 2, 24), x), expected)


def test_digests_are_of_what_is_beside_the_adapters():
    model = build(AutoModelForMaskedLM, BertConfig(**SIZES))
    insert_adapters(model, ALL, "language")
    parts = ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    assert neighbours(model) == [
        *(f"bert.encoder.layer.{n}.output.{part}" for n in (0, 1) for part in parts),
        "bert.embeddings.LayerNorm.weight",
        "bert.embeddings.LayerNorm.bias",
    ]


@pytest.mark.parametrize("kind", ["distilbert", "modernbert"])
def test_other_encoders_are_refused(kind):
    model = AutoModelForMaskedLM.from_config(CONFIGS[kind]())
    with pytest.raises(LtsftError, match=f"types bert, roberta, xlm-roberta, but got {kind}"):
        insert_adapters(model, ALL)


def test_something_that_is_no_model_is_refused():
    with pytest.raises(LtsftError, match="but got Linear"):
        insert_adapters(torch.nn.Linear(1, 1), ALL)


def test_slots_are_put_in_once():
    model = build(AutoModel, BertConfig(**SIZES))
    insert_adapters(model, ALL)
    with pytest.raises(LtsftError, match="has some already"):
        insert_adapters(model, ALL)
