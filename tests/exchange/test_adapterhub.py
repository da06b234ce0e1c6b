"""Files in the layouts of AdapterHub become adapters of ours, or are refused in one line."""

from dataclasses import asdict

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, BertConfig

from ltsft.errors import LtsftError
from ltsft.exchange.adapterhub import read_adapter
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters
from ltsft.sparse import SparseFineTuning
from tests.exchange.hub import (
    OPTIONS,
    H,
    L,
    M,
    about_new,
    about_old,
    check,
    expected,
    refused,
    tensors,
    write,
)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("prefix", ["bert.", ""])
@pytest.mark.parametrize("old", [False, True])
def test_a_language_adapter(tmp_path, old, prefix, safe):
    """12 + 8 tensors of 3 layers in either layout; layer 2 is dropped at loading."""
    weights = tensors(old=old, prefix=prefix)
    folder = write(tmp_path / "is", about_old() if old else about_new(), weights, safe)
    sft = read_adapter(folder, OPTIONS, "language")
    check(sft, expected(weights))
    assert sft.metadata.base_model == "bert-base-multilingual-cased"
    assert sft.metadata.task == "masked-lm"


def test_xlm_r_keys_begin_with_roberta(tmp_path):
    weights = tensors(prefix="roberta.")
    write(tmp_path, about_new() | {"model_type": "xlm-roberta"}, weights)
    sft = read_adapter(tmp_path, OPTIONS, "language")
    check(sft, expected(weights, prefix="roberta."))


def test_a_task_adapter_of_2020_with_a_layer_left_out(tmp_path):
    """Its config lists an invertible adapter that does not exist; keys name it, not the folder."""
    weights = tensors("ner", old=True, task=True, layers=[0, 1], m=4, nice=False)
    about = about_old("text_task", leave_out=[2], reduction_factor=4) | {"name": "ner"}
    folder = write(tmp_path / "wikiann_ner", about, weights)
    sft = read_adapter(folder, OPTIONS, "task")
    check(sft, expected(weights, "task", "ner"))
    assert sft.metadata.task is None


def test_it_fits_a_model_and_survives_saving(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=H,
        num_hidden_layers=L,
        num_attention_heads=2,
        intermediate_size=24,
    )
    model = AutoModelForTokenClassification.from_config(config).eval()
    insert_adapters(model, OPTIONS)
    ids = torch.randint(5, 30, (2, 6))
    with torch.no_grad():
        plain = model(ids).logits
    write(tmp_path / "hub", about_new(), tensors())
    read_adapter(tmp_path / "hub", OPTIONS, "language").save_pretrained(tmp_path / "ours")
    sft = SparseFineTuning.from_pretrained(tmp_path / "ours")
    check(sft, expected(tensors()))
    with sft.apply(model, whole=False), torch.no_grad():
        assert (model(ids).logits - plain).abs().max() > 0.1
        for name, tensor in sft.whole.items():
            assert torch.equal(model.get_parameter(name), tensor)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, plain)


def test_a_language_adapter_fits_a_masked_lm_of_the_same_options(tmp_path):
    write(tmp_path, about_new(), tensors())
    config = BertConfig(vocab_size=30, hidden_size=H, num_hidden_layers=L, num_attention_heads=2)
    model = AutoModelForMaskedLM.from_config(config)
    insert_adapters(model, OPTIONS, "language")
    read_adapter(tmp_path, OPTIONS, "language").apply(model)
    other = AutoModelForMaskedLM.from_config(config)
    insert_adapters(other, Adapters(2, 4, leave_out=[]), "language")
    with pytest.raises(
        LtsftError, match=r"`layers` \[0, 1\] as in training, but it is \[0, 1, 2\]"
    ):
        read_adapter(tmp_path, OPTIONS, "language").apply(other)


class TestActivations:
    """What "gelu" means depends on whether the config has a version."""

    @pytest.mark.parametrize(
        ("about", "activation", "invertible"),
        [
            (about_new(non_linearity="gelu"), "gelu", "gelu"),
            (about_new(non_linearity="gelu_new"), "gelu_new", "gelu_new"),
            (about_old(non_linearity="gelu"), "gelu_new", "relu"),
            (about_old(non_linearity="gelu_orig"), "gelu", "relu"),
            (about_new(), "relu", "relu"),
        ],
    )
    def test_each(self, tmp_path, about, activation, invertible):
        write(tmp_path, about, tensors())
        suiting = Adapters(2, 4, activation=activation, invertible_activation=invertible)
        slot = read_adapter(tmp_path, suiting, "language").metadata.slots["language"]
        assert (slot["activation"], slot["invertible_activation"]) == (activation, invertible)
        other = "gelu" if activation == "gelu_new" else "gelu_new"
        refused(
            tmp_path,
            f"asks for {other}, and the file has {activation}",
            options=Adapters(**asdict(suiting) | {"activation": other}),
        )
        other = "relu" if invertible == "gelu" else "gelu"
        refused(
            tmp_path,
            f"`adapters.invertible_activation` .* asks for {other}, and the file has {invertible}",
            options=Adapters(**asdict(suiting) | {"invertible_activation": other}),
        )


class TestConfigsThatAreRefused:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("mh_adapter", True),
            ("output_adapter", False),
            ("original_ln_before", False),
            ("original_ln_after", False),
            ("residual_before_ln", False),
            ("residual_before_ln", "post_add"),
            ("ln_before", True),
            ("ln_after", True),
            ("scaling", 2.0),
            ("scaling", "learned"),
            ("dropout", 0.1),
            ("is_parallel", True),
            ("use_gating", True),
            ("phm_layer", True),
            ("cross_adapter", True),
        ],
    )
    def test_other_architectures(self, tmp_path, key, value):
        write(tmp_path, about_new(**{key: value}), tensors())
        refused(tmp_path, f"`{key}` is expected to be .* as in the Pfeiffer configuration, but got")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"config": "pfeiffer"}, "`config` is expected to be an object .* but got 'pfeiffer'"),
            ({"model_type": "gpt2"}, "`model_type` .* bert, roberta, xlm-roberta, but got 'gpt2'"),
            ({"model_type": ["bert"]}, "`model_type` .* but got"),
            ({"hidden_size": 0}, "`hidden_size` is expected to be a positive number, but got 0"),
            ({"hidden_size": None}, "`hidden_size` is expected to be a positive number"),
            ({"hidden_size": 32}, "suit the file, but asks for width 16, and the file has width 8"),
            ({"type": "text_task"}, "`type` is expected to be text_lang, but got 'text_task'"),
            ({"name": "sw"}, "one adapter, named 'sw' as in its config, but got is"),
        ],
    )
    def test_facts_about_it(self, tmp_path, change, message):
        write(tmp_path, about_new() | change, tensors())
        refused(tmp_path, message)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"leave_out": "last"}, "`leave_out` is expected to list layers by their numbers"),
            ({"leave_out": [10**12]}, "`leave_out` is expected to list layers by their numbers"),
            (
                {"non_linearity": "swish"},
                "`non_linearity` .* relu, gelu, gelu_new, but got 'swish'",
            ),
            ({"non_linearity": None}, "`non_linearity` .* but got None"),
            ({"inv_adapter": "glow"}, "`nice` with reduction factor 2, but got 'glow' with 2"),
            ({"inv_adapter_reduction_factor": 4}, "reduction factor 2, but got 'nice' with 4"),
            ({"invertible_adapter": "nice"}, "reduction factor 2, but got 'nice' with 'nice'"),
        ],
    )
    def test_options(self, tmp_path, config, message):
        write(tmp_path, about_new(**config), tensors())
        refused(tmp_path, message)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                Adapters(4, 4),
                "language_reduction_factor` .* asks for width 4, and the file has wid",
            ),
            (Adapters(2, 4, invertible=False), "`adapters.invertible` .* asks for False"),
        ],
    )
    def test_options_of_ours_that_do_not_suit_it(self, tmp_path, options, message):
        write(tmp_path, about_new(), tensors())
        refused(tmp_path, message, options=options)

    def test_layers_of_ours_that_it_lacks(self, tmp_path):
        write(tmp_path, about_new(leave_out=[1]), tensors(layers=[0, 2]))
        refused(
            tmp_path, r"layers \[0, 1\] are expected .* none in \[1\]; add them to `adapters.le"
        )


class TestTensorsThatAreRefused:
    def changed(self, tmp_path, change, message, about=None, **settings):
        weights = tensors(**settings)
        change(weights)
        refused(write(tmp_path, about or about_new(), weights), message)

    def test_missing(self, tmp_path):
        key = "bert.encoder.layer.1.output.adapters.is.adapter_up.bias"
        self.changed(tmp_path, lambda w: w.pop(key), r"layer.1.output.*up.bias` .* is missing")

    def test_a_layer_missing(self, tmp_path):
        self.changed(tmp_path, lambda w: None, "layer.1.* is missing", layers=[0, 2])

    def test_no_layers(self, tmp_path):
        self.changed(tmp_path, lambda w: None, "none at all", layers=[])

    def test_a_layer_that_is_said_to_be_left_out(self, tmp_path):
        about = about_new(leave_out=[1])
        self.changed(tmp_path, lambda w: None, "layer.1.* is too many", about=about)

    def test_no_invertible_adapter(self, tmp_path):
        message = "embeddings.invertible.* is missing"
        self.changed(tmp_path, lambda w: None, message, nice=False)

    def test_an_invertible_adapter_that_is_not_announced(self, tmp_path):
        write(tmp_path, about_new(inv_adapter=None), tensors())
        options = Adapters(2, 4, invertible=False)
        refused(tmp_path, "embeddings.invertible.* is too many", options=options)

    @pytest.mark.parametrize(
        "key",
        [
            "bert.encoder.layer.0.output.adapters.is.adapter_down.1.weight",  # ln_before
            "bert.encoder.layer.0.attention.output.adapters.is.adapter_up.weight",  # Houlsby
            "bert.encoder.layer.0.output.dense.weight",
            "heads.is.0.weight",
            "bert.encoder.layer.0000.output.adapters.is.adapter_up.weight",
        ],
    )
    def test_foreign_keys(self, tmp_path, key):
        def add(weights):
            weights[key] = torch.ones(1)

        self.changed(tmp_path, add, f"those of the Pfeiffer configuration, but got `{key}`")

    def test_twice(self, tmp_path):
        def add(weights):
            weights["bert.encoder.layer.00.output.adapters.is.adapter_up.bias"] = torch.ones(H)

        self.changed(tmp_path, add, "is expected once, but is there under another name")

    def test_two_names(self, tmp_path):
        def add(weights):
            weights["bert.encoder.layer.3.output.adapters.sw.adapter_up.bias"] = torch.ones(H)

        self.changed(tmp_path, add, "one adapter, named 'is' as in its config, but got is, sw")

    @pytest.mark.parametrize("prefix", ["roberta.", "model."])
    def test_another_prefix(self, tmp_path, prefix):
        self.changed(tmp_path, lambda w: None, "begin with `bert.`, or all with", prefix=prefix)

    def test_mixed_prefixes(self, tmp_path):
        def change(weights):
            key = next(iter(weights))
            weights[key.removeprefix("bert.")] = weights.pop(key)

        self.changed(tmp_path, change, "begin with `bert.`, or all with")

    def test_shapes(self, tmp_path):
        key = "bert.encoder.layer.1.output.adapters.is.adapter_up.weight"

        def change(weights):
            weights[key] = torch.ones(H, M + 1)

        message = r"layer.1.*up.weight` .* shape \(16, 8\), but has \(16, 9\)"
        self.changed(tmp_path, change, message)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_values(self, tmp_path, value):
        def change(weights):
            next(iter(weights.values()))[0, 0] = value

        self.changed(tmp_path, change, "expected to be a tensor of finite numbers")

    @pytest.mark.parametrize(
        "tensor",
        [
            torch.ones(M, H, dtype=torch.int64),
            torch.full((M, H), 1e300, dtype=torch.float64),
            torch.ones(M, H).to(torch.float8_e4m3fn),
            torch.ones(M, H).to_sparse(),
            torch.ones(M, H, device="meta"),
        ],
    )
    def test_kinds_of_tensors(self, tmp_path, tensor):
        def change(weights):
            weights[next(iter(weights))] = tensor

        self.changed(tmp_path, change, "finite numbers|cannot be read")
