"""Reading CoNLL-U: what is a word, and errors that name file and line."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import conllu
import pytest

from ltsft.data.formats.conllu import Sentence, format_sentence, read_conllu
from ltsft.errors import LtsftError

TREEBANKS = Path(__file__).parents[4] / "shared/data/ud"


def row(number: object, form: str, upos: str = "X", head: object = 0, rel: str = "root") -> str:
    return f"{number}\t{form}\t_\t{upos}\t_\t_\t{head}\t{rel}\t_\t_\n"


def test_words_are_neither_ranges_nor_empty_nodes(write: Callable[..., str]) -> None:
    """Ranges and empty nodes go, words with spaces and underscores stay, heads are as written."""
    text = (
        "\ufeff# sent_id = 1\n# text =no space\n"
        + row("1-2", "vámonos", "_", "_", "_")
        + row(1, "chủ tịch", "NOUN", 2, "nsubj:pass")
        + row(2, "_", "SYM")
        + row("2.1", "gone", "VERB", "_", "_")
        + "\n\n# two blank lines, and no blank line at the end\n"
        + row(1, "#", "PUNCT").rstrip("\n")
    )
    first = Sentence(["chủ tịch", "_"], ["NOUN", "SYM"], [2, 0], ["nsubj", "root"], line=4)
    second = Sentence(["#"], ["PUNCT"], [0], ["root"], line=10)
    path = write("a.conllu", text)
    assert read_conllu(path) == [first, second]
    assert read_conllu(path, limit=1) == [first]
    assert read_conllu(path, subtypes=True)[0].relations == ["nsubj:pass", "root"]
    assert read_conllu(write("crlf.conllu", text.replace("\n", "\r\n"))) == [first, second]


def test_the_text_is_kept_on_request(write: Callable[..., str]) -> None:
    """Line by line as in the file, so that it can be written again; else it is let go."""
    bodies = ["# text = a  b\n" + row("1-2", "ab", "_", "_", "_") + row(1, "a\u2028c", "X", 2)]
    bodies[0] += row(2, "b")
    bodies += ["# x\n" + row(1, "c") + row("1.1", "e", "_", "_", "_")]
    path = write("a.conllu", "\n".join(bodies))
    kept, plain = read_conllu(path, keep_text=True), read_conllu(path)
    assert [sentence.text + "\n" for sentence in kept] == bodies
    assert [sentence.text for sentence in plain] == ["", ""]
    assert kept == plain
    for sentence, body in zip(kept, bodies, strict=True):
        assert format_sentence(sentence.words, {}, sentence.text) == body + "\n"


def test_memory_is_less_than_twice_the_file(write: Callable[..., str]) -> None:
    """By Python's own account; forms and features come again and again, as in real treebanks."""
    forms = [f"word{number}" for number in range(100)]
    body = "".join(
        f"{n}\t{form}\t{form}\tNOUN\tNN\tCase=Nom|Number=Sing\t{n - 1}\tnsubj:pass\t_\t_\n"
        for n, form in enumerate(forms, start=1)
    )
    path = Path(write("a.conllu", (body + "\n") * 100))
    tracemalloc.start()
    try:
        sentences = read_conllu(path)
        num_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(sentences) == 100
    assert num_bytes < 2 * path.stat().st_size


def test_trees_may_be_missing_where_only_tags_are_read(write: Callable[..., str]) -> None:
    path = write("a.conllu", row(1, "a", "X", "_", "_"))
    (sentence,) = read_conllu(path, trees=False)
    assert (sentence.heads, sentence.relations, len(sentence)) == ([-1], ["_"], 1)
    with pytest.raises(LtsftError, match=r"a\.conllu, line 1: the head \(column 7\) .* missing"):
        read_conllu(path)
    path = write("b.conllu", row(1, "a", "X", 2) + row(2, "b", "X", 1))
    assert read_conllu(path, trees=False)[0].heads == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"at least one sentence in CoNLL-U, but it has no word"),
        ("# only\n\n", r"at least one sentence"),
        ("1 a _ X _ _ 0 root _ _\n", r"line 1: .* 10 columns separated by tabs, but got 1"),
        ("\n" + row(1, "a").rstrip() + "\t_\n", r"line 2: .* 10 columns .* got 11"),
        (row(1, "a") + row("two", "b"), r"line 2: the word number .* be 2, but got 'two'"),
        (row(1, "a") + row(1, "b"), r"line 2: the word number .* be 2, but got '1'"),
        (row(1, ""), r"line 1: the form \(column 2\) .* empty"),
        (row(1, "a", ""), r"line 1: the UPOS \(column 4\) .* empty"),
        (row(1, "a", "X", ""), r"line 1: the head .* missing"),
        (row(1, "a", "X", "root", "0"), r"line 1: the head .* got 'root'"),
        (row(1, "a", "X", "²"), r"line 1: the head .* got '²'"),
        (row(1, "a", "X", 0, "_"), r"line 1: the relation \(column 8\) .* missing"),
        (row(1, "a") + row(2, "b", "X", 3), r"line 2: the head .* 2 words, or 0 .* got 3"),
        (row(1, "a", "X", 1), r"line 1: the head .* got 1"),
        (
            "# c\n" + row("1-2", "ab", "_", "_", "_") + row(1, "a") + row(2, "b"),
            r"line 4: the heads \(column 7\) .* but words 1 and 2 are both roots; correct them, or",
        ),
        (row(1, "a", "X", 2) + row(2, "b", "X", 1), r"line 1: the heads .* no word has the head 0"),
        (
            row(1, "a")
            + row("1.1", "e", "_", "_", "_")
            + row(2, "b", "X", 3)
            + row(3, "c", "X", 2),
            r"line 3: the heads .* words 2, 3 make a cycle",
        ),
        (b"# e\n" + row(1, "é").encode("latin1"), r"line 2: .* UTF-8, but got .* 0xe9"),
    ],
)
def test_broken_files(write: Callable[..., str], text: str | bytes, message: str) -> None:
    path = write("broken.conllu", text)
    with pytest.raises(LtsftError, match=message) as caught:
        read_conllu(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(LtsftError, match=r"readable file, but got: No such file"):
        read_conllu(tmp_path / "absent.conllu")


@pytest.mark.skipif(not TREEBANKS.exists(), reason="no real treebanks here")
@pytest.mark.parametrize("name", ["en/dev", "vi/dev", "sa/test", "ug/test"])
def test_agrees_with_another_reader(name: str) -> None:
    """Words, tags and trees of real treebanks with every quirk, against the `conllu` library."""
    path = TREEBANKS / f"{name}.conllu"
    theirs = [
        [
            (token["form"], token["upos"], token["head"], token["deprel"])
            for token in sentence
            if isinstance(token["id"], int)
        ]
        for sentence in conllu.parse(path.read_text(encoding="utf-8"))
    ]
    ours = [
        list(zip(s.words, s.upos, s.heads, s.relations, strict=True))
        for s in read_conllu(path, subtypes=True)
    ]
    assert ours == theirs
