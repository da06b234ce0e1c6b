"""A fit never writes over what another one made."""

import pytest

from ltsft.callbacks import Phase
from ltsft.sparse import SparseFineTuning
from tests.callbacks.plain import Plain, callback, data, trainer


def fit(folder, num_params):
    sft = callback(num_params, Phase(max_steps=2), Phase(max_steps=2), output_dir=str(folder))
    trainer(sft).fit(Plain(), data())
    return sft.sft


def test_the_earlier_one_stays_under_another_name(tmp_path):
    first = fit(tmp_path, 3)
    with pytest.warns(match=r"was in .* is sft-1\.safetensors there now"):
        second = fit(tmp_path, 4)
    with pytest.warns(match=r"sft-2\.safetensors"):
        third = fit(tmp_path, 5)
    folder = tmp_path / "sft"
    kept = [SparseFineTuning.load(folder / f"sft{n}.safetensors") for n in ("", "-1", "-2")]
    assert kept == [third, first, second]


def test_the_same_one_is_written_once(tmp_path):
    fit(tmp_path, 3)
    fit(tmp_path, 3)
    assert [path.name for path in (tmp_path / "sft").iterdir()] == ["sft.safetensors"]
