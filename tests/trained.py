"""One tiny base model, two language SFTs and a task SFT, made by the command line itself."""

from pathlib import Path
from typing import NamedTuple

from ltsft.cli import main
from tests import tiny

TEXT = ["--data", "TextData", "--data.max_length", "12"]
TAGGER = ["--model", "Tagger", "--data", "TaggingData", "--data.max_length", "24"]

QUICK = [
    "--sparse.budget.density", "0.1",
    "--sparse.dense.max_steps", "2",
    "--sparse.sparse.max_steps", "2",
    "--trainer.enable_progress_bar", "false",
]  # fmt: skip
"""Two steps in each phase, no bar."""


class Trained(NamedTuple):
    """Where things are.

    Args:
        base: Folder of the base model.
        text: Raw text.
        treebank: CoNLL-U file of nouns and verbs.
        languages: Language code -> folder of a language fine-tuning; ``aa`` and ``bb``.
        task: Folder of a tagger's fine-tuning, trained over that of ``aa``.
    """

    base: str
    text: str
    treebank: str
    languages: dict[str, str]
    task: str

    @property
    def checkpoint(self) -> str:
        """The Lightning checkpoint that training the task left."""
        (path,) = Path(self.task, "checkpoints").glob("*.ckpt")
        return str(path)


def write_treebank(path: Path, num_sentences: int = 12) -> str:
    """Write sentences of nouns (words of even number) and verbs (odd number)."""
    lines = []
    for number in range(num_sentences):
        for place in range(1, 5):
            word = (number * 3 + place) % 60
            tag = "VERB" if word % 2 else "NOUN"
            lines.append(f"{place}\tw{word}\t_\t{tag}\t_\t_\t{place - 1}\tdep\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def tags_of(path: str | Path) -> list[list[str]]:
    """Read the parts of speech of each sentence of a CoNLL-U file."""
    sentences = Path(path).read_text(encoding="utf-8").strip().split("\n\n")
    return [
        [line.split("\t")[3] for line in sentence.splitlines() if not line.startswith("#")]
        for sentence in sentences
    ]


def train(folder: Path) -> Trained:
    """Train everything in a folder."""
    base = tiny.save_base(folder / "base")
    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(f"w{(i * j) % 60}" for j in range(9)) for i in range(40)))
    treebank = write_treebank(folder / "pos.conllu")
    languages = {}
    for seed, language in enumerate(("aa", "bb"), start=1):
        languages[language] = str(folder / language)
        command = ["fit", "--model", "MaskedLM", "--model.base_model", base, *TEXT]
        command += ["--data.language", language, "--data.text", str(text)]
        command += ["--data.seed", str(seed), *QUICK]
        assert main([*command, "--trainer.default_root_dir", languages[language]]) == 0
    task = str(folder / "task")
    command = ["fit", *TAGGER, "--model.base_model", base]
    command += ["--model.base_sfts", f"[{languages['aa']}]"]
    command += ["--data.train", f"{{aa: {treebank}}}", "--data.validation", f"{{aa: {treebank}}}"]
    command += [*QUICK, "--keep_checkpoints", "true"]
    assert main([*command, "--trainer.default_root_dir", task]) == 0
    return Trained(base, str(text), treebank, languages, task)
