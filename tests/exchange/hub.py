"""Folders as they are on AdapterHub, made in place, and what ours must make of them."""

import json
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from ltsft.errors import LtsftError
from ltsft.exchange.adapterhub import read_adapter
from ltsft.modules.adapters.adapters import Adapters

H, L, M, Q = 16, 3, 8, 4
OPTIONS = Adapters(language_reduction_factor=2, task_reduction_factor=4)


def tensors(name="is", prefix="bert.", old=False, task=False, layers=range(L), m=M, nice=True):
    """The keys and shapes of a folder on the hub, with numbers that tell them apart."""
    generator = torch.Generator().manual_seed(0)
    found = OrderedDict()

    def add(key, *shape):
        found[key] = torch.randn(shape, generator=generator)

    block = "adapters" if not old else f"layer_text_{'task' if task else 'lang'}_adapters"
    for i in layers:
        place = f"{prefix}encoder.layer.{i}.output.{block}.{name}"
        add(f"{place}.adapter_down.0.weight", m, H)
        add(f"{place}.adapter_down.0.bias", m)
        add(f"{place}.adapter_up.weight", H, m)
        add(f"{place}.adapter_up.bias", H)
    for half in "FG" if nice else "":
        place = f"{prefix}{'invertible_lang_adapters' if old else 'invertible_adapters'}.{name}"
        add(f"{place}.{half}.0.weight", Q, H // 2)
        add(f"{place}.{half}.0.bias", Q)
        add(f"{place}.{half}.2.weight", H // 2, Q)
        add(f"{place}.{half}.2.bias", H // 2)
    return found


def about_new(**config):
    """`adapter_config.json` of today."""
    return {
        "config": {
            "adapter_residual_before_ln": False,
            "cross_adapter": False,
            "dropout": 0.0,
            "init_weights": "bert",
            "inv_adapter": "nice",
            "inv_adapter_reduction_factor": 2,
            "is_parallel": False,
            "leave_out": [],
            "ln_after": False,
            "ln_before": False,
            "mh_adapter": False,
            "non_linearity": "relu",
            "original_ln_after": True,
            "original_ln_before": True,
            "output_adapter": True,
            "phm_layer": False,
            "reduction_factor": 2,
            "residual_before_ln": True,
            "scaling": 1.0,
            "use_gating": False,
            **config,
        },
        "hidden_size": H,
        "model_class": "BertModel",
        "model_name": "bert-base-multilingual-cased",
        "model_type": "bert",
        "name": "is",
        "version": "0.2.0",
    }


def about_old(kind="text_lang", **config):
    """`adapter_config.json` of 2020: no version, the invertible adapter in a field of its own."""
    return {
        "config": {
            "adapter_residual_before_ln": False,
            "attention_type": "sent-lvl-dynamic",
            "invertible_adapter": {
                "block_type": "nice",
                "non_linearity": "relu",
                "reduction_factor": 2,
            },
            "leave_out": [],
            "ln_after": False,
            "ln_before": False,
            "mh_adapter": False,
            "new_attention_norm": False,
            "non_linearity": "relu",
            "original_ln_after": True,
            "original_ln_before": True,
            "output_adapter": True,
            "reduction_factor": 2,
            "residual_before_ln": True,
            **config,
        },
        "config_id": "9076f36a74755ac4",
        "hidden_size": H,
        "model_class": "BertForMaskedLM",
        "model_name": "bert-base-multilingual-cased",
        "model_type": "bert",
        "name": "is",
        "type": kind,
    }


def write(folder, about, weights, safe=False, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(about))
    if safe:
        save_file(weights, folder / "adapter.safetensors")
    else:
        torch.save(weights, folder / "pytorch_adapter.bin", **settings)
    return folder


def expected(weights, slot="language", name="is", prefix="bert."):
    """Our names for the hub's, spelled out."""
    renamed = {}
    for key, tensor in weights.items():
        for part, ours in (
            ("layer_text_lang_adapters", "adapters"),
            ("layer_text_task_adapters", "adapters"),
            ("invertible_lang_adapters", "invertible_adapters"),
            (f"adapters.{name}.adapter_down.0", f"adapters.{slot}.down"),
            (f"adapters.{name}.adapter_up", f"adapters.{slot}.up"),
            (f"invertible_adapters.{name}.F.0", "embeddings.invertible.f.down"),
            (f"invertible_adapters.{name}.F.2", "embeddings.invertible.f.up"),
            (f"invertible_adapters.{name}.G.0", "embeddings.invertible.g.down"),
            (f"invertible_adapters.{name}.G.2", "embeddings.invertible.g.up"),
        ):
            key = key.replace(part, ours)
        key = key if key.startswith(prefix) else prefix + key
        if ".layer.2." not in key:  # the last layer is left out
            renamed[key] = tensor
    return renamed


def check(sft, whole):
    assert not sft.entries
    assert sft.whole.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(sft.whole[name], tensor), name


def refused(source, message, slot="language", options=OPTIONS):
    with pytest.raises(LtsftError, match=message) as caught:
        read_adapter(source, options, slot)
    assert "\n" not in str(caught.value)
