"""docs/encoders.md: its short form, and that the page has every cell."""

import re

import pytest

from tests.constructions import CONSTRUCTIONS
from tests.documented import ROOT
from tests.encoder_table import HEAD, TASKS, page, try_out


def test_the_page_has_every_encoder_with_every_task():
    text = (ROOT / "docs/encoders.md").read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == ["encoder", *TASKS]
    assert [row[0] for row in rows[1:]] == list(CONSTRUCTIONS)
    notes = set(re.findall(r"^(\d+)\. .*is expected to.*but", text, re.MULTILINE))
    for row in rows[1:]:
        assert len(row) == 1 + len(TASKS)
        for cell in row[1:]:
            assert re.fullmatch(r"all|refused \[\d+\]|all but (\S+ \[\d+\](, )?)+", cell)
            assert set(re.findall(r"\d+", cell)) <= notes


@pytest.mark.timeout(120)
def test_it_is_made_by_trying():
    """An encoder that was saved without the head of a language model, one that cannot have it."""
    outcomes = {
        "ELECTRA": try_out("ELECTRA", ["masked words", "tags"]),
        "mT5": try_out("mT5", ["masked words"]),
    }
    for steps in outcomes["ELECTRA"].values():
        assert {step for step, why in steps.items() if why} == {"MAD-X"}, steps
    assert outcomes["mT5"]["masked words"].keys() == {"fit"}
    text = page(outcomes)
    assert "| ELECTRA | all but MAD-X [1] | all but MAD-X [1] |" in text
    assert "| mT5 | refused [2] |" in text
    assert "2. `model.init_args.base_model` is expected to be of a type" in text
