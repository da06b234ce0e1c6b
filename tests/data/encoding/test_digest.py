"""Digests tell content apart, and nothing else."""

from pathlib import Path

from ltsft.data.encoding.digest import digest, file_digest


def test_parts_of_a_key_are_apart() -> None:
    assert len({digest(parts) for parts in (["ab"], ["a", "b"], ["", "ab"], ["b", "a"])}) == 4


def test_files_of_one_content_have_one_digest(tmp_path: Path) -> None:
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"x\n")):
        (tmp_path / name).write_bytes(content)
    assert file_digest(tmp_path / "a") == file_digest(str(tmp_path / "b"))
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "c")


def test_texts_that_are_no_unicode_have_a_digest() -> None:
    """JSON may hold lone surrogates."""
    assert digest(["\ud800"]) != digest(["\ud801"])
