"""Options by the names that their user knows, and types."""

import pytest

from ltsft import Budget, LtsftError, Phase, ScopeRules, SparseMaskCallback
from ltsft.errors import _in_python as in_python
from ltsft.errors import expect_type, options_by_yaml, printable
from ltsft.sparse import LargestChange


@pytest.mark.parametrize(
    ("yaml", "python"),
    [
        ("`sparse.monitor` is", "`monitor` is"),
        ("`sparse.dense.patience`", "`dense=Phase(patience=…)`"),
        ("`sparse.sparse.max_steps: 100`", "`sparse=Phase(max_steps=100)`"),
        ("`sparse.dense`", "`dense`"),
        ("`sparse.budget.density`", "`Budget(density=…)`"),
        ("`sparse.budget`", "`budget`"),
        ("`sparse.scope.frozen`", "`ScopeRules(frozen=…)`"),
        ("`sparse.selection: NoEntries`", "`selection=NoEntries()`"),
        ("`data.init_args.train.en`", "`train.en`"),
        ("`model.init_args.root: first_token`", "`root=first_token`"),
        ("`trainer.max_epochs`", "`Trainer(max_epochs=…)`"),
        ("`languages.sfts`", "`sfts`"),
        ("`model.resize_token_embeddings(len(tokenizer))`", None),
        ("`trainer.fit`", None),
        ("`bert.encoder.layer.0.weight`", None),
        ("`val_loss` and `ltsft fit`", None),
    ],
)
def test_pythons_names(yaml, python):
    assert in_python(yaml) == (yaml if python is None else python)


@pytest.fixture
def _in_python():
    """As it is outside of tests; undone before the fixture that lets them see YAML's names is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ltsft.errors._by_yaml", False)
        yield


@pytest.mark.usefixtures("_in_python")
def test_who_is_told_which():
    """The test suite asks for YAML's, as the command line does; Python code gets its own."""
    error = LtsftError("`sparse.dense.patience` is wrong")
    assert str(error) == "`dense=Phase(patience=…)` is wrong"
    with options_by_yaml():
        assert str(error) == "`sparse.dense.patience` is wrong"
    with pytest.raises(LtsftError, match=r"`mode` is expected to be `min` or `max`"):
        SparseMaskCallback(monitor="val_loss", mode="minimum")
    with pytest.raises(LtsftError, match=r"`Budget\(density=…\)` is expected to be above 0"):
        Budget(density=5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(0.05), r"num_params` .* a whole number, but got 0.05; .*density=0.05"),
        (lambda: Budget(1e2), "num_params` .* a whole number, but got 100.0"),
        (lambda: Budget("100"), "num_params` .* a whole number, but got '100'"),
        (lambda: Budget(True), "num_params` .* a whole number, but got True"),
        (lambda: Budget(density="5%"), "density` .* a whole number or a number, but got '5%'"),
        (lambda: Phase(max_steps=2.5), "`max_steps` .* a whole number, but got 2.5"),
        (lambda: Phase(max_steps="10"), "`max_steps` .* a whole number, but got '10'"),
        (lambda: ScopeRules(whole="head"), r"whole` .* a list .* but got 'head'; .*\[\"head\"\]"),
        (lambda: SparseMaskCallback(0.05), r"`budget` .* a Budget, but got 0.05; .*density"),
        (lambda: SparseMaskCallback(dense=3), r"`dense` .* a Phase, but got 3; .*max_steps"),
        (
            lambda: SparseMaskCallback(scope=["head"]),
            r"`scope` .* a ScopeRules, but got \['head'\]",
        ),
        (lambda: SparseMaskCallback(selection="Random"), "`selection` .* a Selection, but got 'R"),
        (lambda: SparseMaskCallback(selection=LargestChange), "`selection` .* a Selection, but"),
    ],
)
def test_another_type_is_refused_where_it_is_given(make, message):
    with pytest.raises(LtsftError, match=message):
        make()


def test_what_is_left_out_has_no_type():
    expect_type("x", None, int, "x=1")
    expect_type("x", 1, (int, float), "x=1")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x9b31m \x7f", r"\x9b31m \x7f"),
        ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
        ("half \ud800", r"half \ud800"),
        ("Ünïcode 中文 \u200d مرحبا", "Ünïcode 中文 \u200d مرحبا"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown
    if "\n" not in text:
        assert str(LtsftError(f"got {text}")) == f"got {shown}"
    str(LtsftError(text)).encode()


def test_a_message_is_one_line():
    assert str(LtsftError("first \n\n  second\r\nthird")) == "first second third"


def test_a_workers_traceback_keeps_its_lines():
    """Torch puts it into the message."""
    text = "Caught in worker.\nOriginal Traceback (most recent call last):\n  \x1b[2J"
    assert str(LtsftError(text)) == text.replace("\x1b", r"\x1b")
