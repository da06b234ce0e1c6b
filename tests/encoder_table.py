"""Tries every kind of encoder with every task, and writes docs/encoders.md.

    python -m tests.encoder_table [--only BERT ...] [--output docs/encoders.md]

A cell is a fit, the same fit resumed in its dense phase (which has to give the same file), a test
with the target language's fine-tuning, predictions, a plain checkpoint (which has to say what the
task says, bit for bit), and the paper's other systems, all by the command line. Each works, or is
refused in one line.
"""

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import transformers

from ltsft import tasks
from ltsft.cli import main as ltsft
from ltsft.data.artificial import family
from ltsft.exchange.plain_checkpoint import HEAD_OF_TASK, HEADS
from ltsft.sparse import SparseFineTuning
from tests.constructions import CONSTRUCTIONS, MAX_LENGTH

SOURCE, TARGET = "alora", "elmu"
QUICK = [
    "--trainer.limit_val_batches", "2", "--trainer.limit_test_batches", "2",
    "--trainer.limit_predict_batches", "2", "--trainer.accelerator", "cpu",
    "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false",
]  # fmt: skip
FIT = [
    *QUICK, "--sparse.dense.max_steps", "4", "--sparse.sparse.max_steps", "3",
    "--trainer.val_check_interval", "2", "--trainer.check_val_every_n_epoch", "null",
    "--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.every_n_train_steps", "3",
    "--trainer.callbacks.save_top_k", "-1",
]  # fmt: skip
SPARSE = ["--sparse.budget.density", "0.05"]


class Tried(NamedTuple):
    """A task of the table: its classes, and further options."""

    model: str
    data: str
    options: tuple[str, ...] = ()


TASKS = {
    "masked words": Tried("MaskedLM", "TextData"),
    "tags": Tried("Tagger", "TaggingData"),
    "trees": Tried("Parser", "ParsingData"),
    "pairs": Tried("SentenceClassifier", "PairData"),
    "questions": Tried("QuestionAnswering", "QuestionData",
                       ("--data.stride", "20", "--data.max_question_length", "30")),
}  # fmt: skip


class Refused(Exception):
    """A command that ended in one line."""


class Cell:
    """One kind of encoder with one task, in a folder of its own.

    Args:
        base: Folder of the base model.
        task: A key of :data:`TASKS`.
        languages: Code -> folder of fine-tunings of the source and the target; none where the
            model has no masked words to learn them by.
    """

    def __init__(self, base: str, task: str, languages: dict[str, str]) -> None:
        self.base = base
        self.task = task
        self.languages = languages
        self.tried = TASKS[task]
        self.is_language = task == "masked words"
        self.folder = base.replace("base", task.replace(" ", "-"))
        self.options = ["--model", self.tried.model, "--data", self.tried.data]
        self.options += ["--data.max_length", str(MAX_LENGTH), *self.tried.options]
        if task == "trees" and not has_pooling_layer(base):
            self.options += ["--model.root", "first_token"]
        self.source = [languages[SOURCE]] if languages and not self.is_language else []

    def outcomes(self) -> Iterator[tuple[str, str]]:
        """Each step, and why it was refused, or nothing; after a refused fit the rest is left."""
        steps: dict[str, Callable[[], None]] = {
            "fit": self.fit,
            "resume": self.resume,
            "test": lambda: self.score("test"),
            "predict": lambda: self.score("predict"),
            "compose": self.compose,
            "RAND-SFT": lambda: self.fit("Random", *SPARSE, "--sparse.selection", "Random"),
            "BitFit": lambda: self.fit("Biases", "--sparse.selection", "Biases"),
            "full": lambda: self.fit("AllEntries", "--sparse.selection", "AllEntries"),
            "MAD-X": self.mad_x,
        }
        for step, attempt in steps.items():
            if self.is_language and step == "predict":
                continue  # there is nothing to write
            try:
                attempt()
                yield step, ""
            except Refused as refusal:
                yield step, str(refusal)
                if step == "fit":
                    return

    def fit(self, to: str = "whole", *more: str) -> None:
        """Train, over the source language's fine-tuning if there is one."""
        sfts = [] if "NoEntries" in more else self.source
        options = [*self.options, "--model.base_model", self.base, *self._data("fit"), *FIT]
        options += ["--model.base_sfts", f"[{', '.join(sfts)}]", *(more or SPARSE)]
        run("fit", *options, "--trainer.default_root_dir", self._path(to))

    def resume(self) -> None:
        """Go on in the dense phase."""
        (checkpoint,) = Path(self._path("whole/checkpoints")).glob("*step=3.ckpt")
        self.fit("resumed", *SPARSE, "--ckpt_path", str(checkpoint))
        whole, resumed = (
            SparseFineTuning.from_pretrained(self._path(name)) for name in ("whole", "resumed")
        )
        assert whole == resumed, "the resumed fit gave another fine-tuning"

    def score(self, command: str) -> None:
        """Test or predict, with the target's fine-tuning if there is one."""
        options = [*self.options, "--model.base_model", self.base, *self._data(command), *QUICK]
        options += ["--model.base_sfts", f"[{self._path('whole')}]"]
        if self.languages and not self.is_language:
            options += ["--languages.sfts", f"{{{TARGET}: {self.languages[TARGET]}}}"]
        run(command, *options, "--trainer.default_root_dir", self._path(command))

    def compose(self) -> None:
        """Make a plain checkpoint; of a parser, which transformers has no class for, one SFT."""
        names = [self._path("whole")]
        if self.languages and not self.is_language:
            names.append(self.languages[TARGET])
        parts = [part for name in names for part in ("--sft", name)]
        output = self._path("composed")
        if self.task == "trees":
            run("compose", "--as-sft", *parts, "--output", output)
            return
        run("compose", *parts, "--output", output)
        task = getattr(tasks, self.tried.model)(base_model=self.base, base_sfts=names[:1]).eval()
        for name in names[1:]:
            SparseFineTuning.from_pretrained(name).apply(task.model, whole=False)
        head = HEADS[HEAD_OF_TASK[task.task_name]]
        composed = getattr(transformers, head).from_pretrained(output).eval()
        ids = torch.randint(5, 60, (2, 17), generator=torch.Generator().manual_seed(0))
        ids[:, -1] = 2  # mT5's classifier looks for the end
        with torch.no_grad():
            said, expected = (m(input_ids=ids)[0] for m in (composed, task.model))
        assert torch.equal(said, expected), "the composed model says something else"

    def mad_x(self) -> None:
        """Train an adapter."""
        other = "task" if self.is_language else "language"
        self.fit(
            "madx", "--sparse.selection", "NoEntries", "--model.adapters.leave_out", "[-1]",
            f"--model.adapters.{other}_reduction_factor", "null",
        )  # fmt: skip

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def _data(self, command: str) -> list[str]:
        if self.is_language:
            language = SOURCE if command == "fit" else TARGET
            return ["--data.language", language, "--data.text", f"{language}.txt"]
        roles = ["train", "validation"] if command == "fit" else [command]
        language = SOURCE if command == "fit" else TARGET
        source = f'{{{language}: {{path: "artificial:{language}", limit: 40}}}}'
        return [part for role in roles for part in (f"--data.{role}", source)]


def run(*args: str) -> None:
    """Run a command.

    Raises:
        Refused: If it ends in one line; anything else goes up, with its traceback.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = ltsft(list(args))
    lines = [line for line in err.getvalue().splitlines() if line.startswith("ltsft ")]
    if status:
        assert status == 2, (status, err.getvalue())
        assert len(lines) == 1, err.getvalue()
        reason = lines[0].partition(": ")[2]
        # One note for all whose adapters have no place.
        raise Refused(re.sub(r"but got [\w-]+; take", "but got another; take", reason))


def has_pooling_layer(base: str) -> bool:
    """Whether an encoder has what stands for the root in the paper's parser."""
    config = transformers.AutoConfig.from_pretrained(base)
    if config.is_encoder_decoder:
        return False
    return getattr(transformers.AutoModel.from_config(config), "pooler", None) is not None


def try_out(name: str, tasks: Iterable[str] = TASKS) -> dict[str, dict[str, str]]:
    """Task -> step -> why it was refused, or nothing, for one kind of encoder."""
    lines = []
    for code in (SOURCE, TARGET):
        text = family(0)[code].text(200)
        Path(f"{code}.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
        lines += text
    base = CONSTRUCTIONS[name].save(Path(name.replace(" ", "-"), "base"), lines)
    outcomes: dict[str, dict[str, str]] = {}
    languages: dict[str, str] = {}
    for task in tasks:
        cell = Cell(base, task, languages)
        outcomes[task] = dict(cell.outcomes())
        print(f"{name}, {task}: {outcomes[task]}", file=sys.stderr, flush=True)
        if cell.is_language and not outcomes[task]["fit"]:
            languages = dict.fromkeys((SOURCE, TARGET), f"{cell.folder}/whole")
    return outcomes


def page(outcomes: dict[str, dict[str, dict[str, str]]]) -> str:
    """The page: a row per encoder, a column per task, notes on what is refused."""
    notes: dict[str, int] = {}

    def cell(steps: dict[str, str]) -> str:
        if steps["fit"]:
            return f"refused [{notes.setdefault(steps['fit'], len(notes) + 1)}]"
        refused = {step: why for step, why in steps.items() if why}
        marks = [f"{s} [{notes.setdefault(w, len(notes) + 1)}]" for s, w in refused.items()]
        return f"all but {', '.join(marks)}" if marks else "all"

    rows = [
        f"| {name} | {' | '.join(cell(steps) for steps in tried.values())} |"
        for name, tried in outcomes.items()
    ]
    return "\n".join(
        [
            HEAD,
            f"| encoder | {' | '.join(TASKS)} |",
            "|---" * (len(TASKS) + 1) + "|",
            *rows,
            "",
            *(f"{number}. {note}" for note, number in notes.items()),
            "",
        ]
    )


HEAD = """# Which encoders work with which tasks

Made by `python -m tests.encoder_table --output docs/encoders.md`, from small random models of the
real classes with tokenizers of the real construction. *all*: a fit; the same fit resumed in its
dense phase, which gives the same file; `test` and `predict` with the target language's fine-tuning;
`compose`, after which transformers alone says what the task says, to the bit (of a parser, for
which it has no class: one fine-tuning, `--as-sft`); RAND-SFT, BitFit, full fine-tuning and MAD-X.
Parsers of encoders without a pooling layer are trained with `--model.root first_token`. What is not
*all* ends in the line below the table, before anything is trained.
"""


def main() -> None:
    """Try some or all encoders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=CONSTRUCTIONS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    output = options.output and options.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["LTSFT_CACHE"] = f"{folder}/cache"
        text = page({name: try_out(name) for name in options.only or CONSTRUCTIONS})
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
