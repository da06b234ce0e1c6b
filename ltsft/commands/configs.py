"""``ltsft configs``: list, show and copy the configs that come with ltsft."""

import re
import shutil
import textwrap
from pathlib import Path

from ltsft.errors import LtsftError
from ltsft.terminal.configs import FOLDER, PREFIX, names, path_of
from ltsft.terminal.plain_parser import PlainParser

_WIDTH = 80
"""Of a summary, in characters."""


def make_parser() -> PlainParser:
    """The parser of ``ltsft configs``."""
    parser = PlainParser(
        "ltsft configs",
        description=f"List the configs that come with ltsft, show one, or copy some to change "
        f"them. `--config {PREFIX}task/ner` takes one as it is.",
    )
    parser.add_argument("name", nargs="*", help="of a config or a group: task/ner, system")
    parser.add_argument(
        "--copy", metavar="FOLDER", help="copy them there, in their groups, instead of showing them"
    )
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    chosen = _chosen(options.name)
    if options.copy:
        _copy(chosen, Path(options.copy))
    elif any("/" in name for name in options.name):
        print("\n".join(path_of(name).read_text(encoding="utf-8").rstrip("\n") for name in chosen))
    else:
        width = max(map(len, chosen)) + len(PREFIX)
        print("\n".join(f"{PREFIX + name:{width}}  {_summary(name)}" for name in chosen))


def _chosen(asked_for: list[str]) -> list[str]:
    """Names of the configs that were asked for, by name or by group."""
    if not asked_for:
        return names()
    chosen = []
    for name in asked_for:
        group = [other for other in names() if other.startswith(f"{name.rstrip('/')}/")]
        chosen += group or [path_of(name).relative_to(FOLDER).with_suffix("").as_posix()]
    return chosen


def _summary(name: str) -> str:
    """The first sentence of a config's comment, after its command."""
    lines = path_of(name).read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    text = " ".join(comment[comment.index("") + 1 :] if "" in comment else comment)
    sentence = re.split(r"(?<!al)\.(?: |$)", text)[0]
    if sentence.startswith("After "):
        sentence = sentence.partition(": ")[2] or sentence
    return textwrap.shorten(sentence, _WIDTH, placeholder=" …")


def _copy(chosen: list[str], folder: Path) -> None:
    copies = [folder / f"{name}.yaml" for name in chosen]
    if old := [path for path in copies if path.exists()]:
        raise LtsftError(
            f"`--copy` is expected to be a folder without these configs, but {old[0]} exists; name "
            "another, or remove it."
        )
    try:
        for name, path in zip(chosen, copies, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path_of(name), path)
    except OSError as error:
        raise LtsftError(
            f"`--copy` is expected to be a folder to write to, but {error}."
        ) from error
    print(f"Copied {len(chosen)} configs to {folder}.")
