"""How tables look."""

from ltsft.terminal.table import table


def test_columns_are_as_wide_as_their_widest_cell():
    lines = table(["a", "score"], [["long name", "1"], ["b", "123456789"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| :-------- | --------: |"
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["1", "123456789"]
    assert lines[2].startswith("| long name |")
    assert lines[3].endswith(" 123456789 |")


def test_a_table_without_rows_has_its_header():
    assert table(["x"], []).splitlines() == ["| x   |", "| :-- |"]
