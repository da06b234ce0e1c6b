"""A short run of the campaign, and that it would see what is wrong."""

from collections import Counter

import pytest
import torch

from ltsft.sparse import applied, delta, file_format, header
from tests.campaigns import fuzz


def test_a_thousand_files():
    """None does what no file may do; of each kind some are refused, and some go in and out."""
    said: list[str] = []
    report = fuzz.run(1000, seed=3, say=said.append)
    assert (report.wrongs, said) == ({}, [])
    assert sum(report.counts.values()) == 1000
    outcomes = Counter[tuple[str, str]]()
    for (kind, how, outcome), number in report.counts.items():
        outcomes[outcome, kind] += number
        assert number > 0
        assert how in ("bytes", "signed")
    for kind in ("plain", "packed", "older", "adapterhub"):
        assert outcomes["refused", kind] > 20
        assert outcomes["loaded, applied and reverted", kind] > 10
    assert outcomes["loaded, refused by the model", "released"] > 3
    assert "1,000 files, 0 of them wrong" in str(report)


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (applied, "_sum", lambda before, values: before),
        (applied.Applied, "put_back", lambda *_: None),
        (header.Header, "check_digest", lambda _: None),
        (delta.SparseDelta, "__post_init__", lambda _: None),
        (file_format, "unpack", lambda shape, *_: delta.SparseDelta.unchecked(
            shape, torch.zeros(0).int(), torch.zeros(0))),
    ],
)  # fmt: skip
def test_it_sees_what_is_wrong(monkeypatch, place, name, broken):
    monkeypatch.setattr(place, name, broken)
    report = fuzz.run(300, seed=3, say=lambda _: None)
    assert any("Wrong in" in told for told in report.wrongs.values())
    assert report.counts.total() > 100
