"""What a command says."""

import logging
import warnings
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from ltsft.terminal.output import libraries_on_stdout, score_table, written


def test_scores_have_a_row_per_language():
    text = score_table({"test_las/hsb": 0.5, "test_uas/hsb": 0.25, "test_las/mt": 1.0})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert rows[0] == ["language", "test_las", "test_uas"]
    assert rows[2:] == [["hsb", "50.00", "25.00"], ["mt", "100.00", ""]]
    assert "| all " in score_table({"val_loss": 1.0})


def test_shares_are_in_per_cent_and_losses_are_not():
    text = score_table({"test_loss/hsb": 0.5, "test_perplexity/hsb": 1.25, "test_f1/hsb": 0.5})
    cells = [cell.strip() for cell in text.splitlines()[2].split("|")[1:-1]]
    assert cells == ["hsb", "0.5000", "1.2500", "50.00"]


def test_libraries_speak_on_stdout_only_and_one_line_each(capsys):
    with libraries_on_stdout():
        rank_zero_info("a remark")
        rank_zero_info("Tip: For seamless cloud logging, buy this")
        warnings.warn("look out", stacklevel=1)
        warnings.warn("later it goes", FutureWarning, stacklevel=1)
    out, err = capsys.readouterr()
    assert out.splitlines() == ["a remark", "warning: look out"]
    assert err == ""


def test_what_was_written_over_is_told():
    assert written(Path("a/b"), replaced=False) == "Wrote a/b."
    assert written(Path("a/b"), replaced=True).startswith("Wrote a/b, over an earlier one; name")


def test_what_is_logged_and_warned_does_not_command_the_terminal(capsys):
    with libraries_on_stdout():
        logging.getLogger("lightning.pytorch").warning("task \x1b[2J\nnext")
        warnings.warn("task \x1b[2J\r", UserWarning, stacklevel=1)
    assert capsys.readouterr().out == "task \\x1b[2J\nnext\nwarning: task \\x1b[2J\\r\n"
