"""Loading pretrained models and building them again."""

import json

import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification

from ltsft.errors import LtsftError
from ltsft.tasks import MaskedLM, Parser
from ltsft.tasks.encoder import (
    build_encoder,
    check_inputs,
    config_values,
    is_inside,
    load_encoder,
    model_inputs,
)
from tests.constructions import CONSTRUCTIONS
from tests.tiny import CONFIGS, save_base


def test_a_missing_base_is_one_line(tmp_path):
    with pytest.raises(LtsftError) as caught:
        MaskedLM(base_model=str(tmp_path / "nothing"))
    assert "nothing" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_precision_checkpoints_train_in_float32(tmp_path):
    base = save_base(tmp_path / "base")
    AutoModelForMaskedLM.from_pretrained(base).half().save_pretrained(tmp_path / "half")
    task = MaskedLM(base_model=str(tmp_path / "half"))
    assert {parameter.dtype for parameter in task.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_is_built_again_from_plain_values(tmp_path, kind):
    """The same architecture, from what JSON can hold; no parameter counts as fresh."""
    base = save_base(tmp_path / "base", kind)
    model, fresh = load_encoder(AutoModelForTokenClassification, base, id2label={0: "A", 1: "B"})
    assert fresh
    assert not any(is_inside(name, model) for name in fresh)
    values = config_values(model)
    assert json.loads(json.dumps(values)) == values
    again = build_encoder(AutoModelForTokenClassification, values)
    assert again.fresh == frozenset()
    assert {n: p.shape for n, p in again.model.named_parameters()} == {
        n: p.shape for n, p in model.named_parameters()
    }
    assert again.model.config.id2label == {0: "A", 1: "B"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_models_get_what_they_take(tmp_path, kind):
    """All that is handed on is a parameter of the model, and the language is not."""
    base = save_base(tmp_path / "base", kind)
    model, _ = load_encoder(AutoModelForTokenClassification, base)
    ids = torch.full((1, 3), 7)
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
        "labels": ids,
        "language": "aa",
    }
    inputs = model_inputs(model, batch)
    assert {"input_ids", "attention_mask"} <= inputs.keys() <= batch.keys() - {"labels", "language"}
    assert model(**inputs).logits.shape == (1, 3, 2)


def longest(model):
    """The longest sequence up to 100 that a model computes, by trying."""
    for length in range(100, 0, -1):
        ids = torch.full((1, length), 7)
        try:
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (IndexError, RuntimeError):
            continue
        return length
    raise AssertionError


@pytest.mark.parametrize("name", CONFIGS)
def test_lengths_that_a_model_lacks_are_those_it_cannot_compute(tmp_path, name):
    """Whatever its positions begin with, and whether or not it has embeddings of them."""
    model, _ = load_encoder(AutoModelForTokenClassification, save_base(tmp_path / name, name))
    length = longest(model.eval())
    check_inputs(model, None, length)
    if length < 100:
        with pytest.raises(LtsftError, match=f"`data.init_args.max_length` .* at most {length}, "):
            check_inputs(model, None, length + 1)
    assert (length < 100) == (name != "modernbert")


def test_tokens_that_a_model_lacks(tmp_path):
    model, _ = load_encoder(AutoModelForMaskedLM, save_base(tmp_path / "base"))
    num_tokens = model.config.vocab_size
    check_inputs(model, num_tokens, None)
    with pytest.raises(LtsftError, match=f"at most the {num_tokens} tokens that .* but has"):
        check_inputs(model, num_tokens + 1, None)
    check_inputs(model, None, None)


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24, "vocab_size": 60}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("Xmod", {"languages": ["en_XX"]}, "Input language unknown"),
        ("Nystromformer", {"num_landmarks": 4, "segment_means_seq_len": 16}, "shape"),
    ],
)
def test_a_model_that_wants_more_than_text_is_refused(kind, settings, reason, tmp_path):
    config = getattr(transformers, f"{kind}Config")(**SIZES, **settings)
    getattr(transformers, f"{kind}ForMaskedLM")(config).save_pretrained(tmp_path / "base")
    with pytest.raises(LtsftError, match=rf"^`model.init_args.base_model` .*{reason}") as caught:
        load_encoder(AutoModelForMaskedLM, str(tmp_path / "base"))
    assert "\n" not in str(caught.value)


def test_a_language_in_the_config_is_enough_for_xmod(tmp_path):
    config = transformers.XmodConfig(**SIZES, languages=["en_XX"], default_language="en_XX")
    transformers.XmodForMaskedLM(config).save_pretrained(tmp_path / "base")
    assert load_encoder(AutoModelForMaskedLM, str(tmp_path / "base")).model.training is False


def test_sparse_attention_stays(tmp_path):
    """BigBird gives it up at the sight of a short text."""
    config = transformers.BigBirdConfig(**SIZES, block_size=4, num_random_blocks=1)
    transformers.BigBirdForMaskedLM(config).save_pretrained(tmp_path / "base")
    model, _ = load_encoder(AutoModelForMaskedLM, str(tmp_path / "base"))
    assert model.bert.attention_type == "block_sparse"


def test_a_type_without_the_head_is_refused_by_name(tmp_path):
    base = CONSTRUCTIONS["mT5"].save(tmp_path / "base", ["a b c"])
    with pytest.raises(LtsftError, match="has AutoModelForMaskedLM for, but .* is of type mt5"):
        MaskedLM(base_model=base)


def test_a_parser_takes_the_encoder_alone(tmp_path):
    """Also when it is built again from a checkpoint."""
    base = CONSTRUCTIONS["mT5"].save(tmp_path / "base", ["a b c"])
    parser = Parser(base_model=base, labels=["root", "dep"], root="first_token")
    assert not any("decoder" in name for name, _ in parser.named_parameters())
    again = Parser(
        base_model="gone",
        labels=["root", "dep"],
        root="first_token",
        model_config=config_values(parser.model),
    )
    assert again.state_dict().keys() == parser.state_dict().keys()
