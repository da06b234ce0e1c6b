"""What is written is there whole or not at all."""

import pytest

from ltsft.atomic import whole_file, whole_folder, write_text
from ltsft.errors import LtsftError


def _write_half(writing, place):
    with writing as temporary:
        place(temporary).write_text("half")
        raise RuntimeError


def test_a_file_appears_only_when_the_block_is_done(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("older")
    with pytest.raises(RuntimeError):
        _write_half(whole_file(path), lambda temporary: temporary)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_only_when_the_block_is_done(tmp_path):
    path = tmp_path / "model"
    path.mkdir()  # an empty one may be there
    with whole_folder(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a.txt").write_text("all")
        assert not list(path.iterdir())
    assert (path / "sub" / "a.txt").read_text() == "all"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o755


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError):
        _write_half(whole_folder(tmp_path / "model"), lambda temporary: temporary / "a.txt")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LtsftError, match="expected to be writable"):
        write_text(tmp_path / "file" / "a.txt", "text")
