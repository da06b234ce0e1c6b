"""``ltsft overlap``: which entries fine-tunings select in common, pair by pair."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from ltsft.atomic import whole_file
from ltsft.errors import LtsftError
from ltsft.sparse import Overlap, SparseFineTuning, overlap
from ltsft.terminal.plain_parser import PlainParser
from ltsft.terminal.table import table


def make_parser() -> PlainParser:
    """The parser of ``ltsft overlap``."""
    parser = PlainParser(
        "ltsft overlap",
        description="Compare which entries sparse fine-tunings select: |A∩B| / min(|A|, |B|), "
        "beside what two random selections of these sizes have in common (Ansell et al., 2022, "
        "figure 5).",
    )
    parser.add_argument("sfts", nargs="+", metavar="SFT", help="folder, file or user/repo[@rev]")
    parser.add_argument("--plot", metavar="FILE", help="draw a heat map, e.g. overlap.pdf")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead")
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    if len(options.sfts) < 2:
        raise LtsftError("`ltsft overlap` is expected to get two SFTs or more, but got one.")
    sfts = [SparseFineTuning.from_pretrained(name) for name in options.sfts]
    names = short_names(options.sfts)
    bases = {sft.metadata.base_model for sft in sfts} - {None}
    if len(bases) > 1:
        print(
            f"warning: these are of different base models ({', '.join(sorted(map(str, bases)))}), "
            "so that their entries have nothing to do with each other.",
            file=sys.stderr,
        )
    pairs = {(a, b): overlap(sfts[a], sfts[b]) for a, b in combinations(range(len(sfts)), 2)}
    if options.json:
        rows = [{"a": names[a], "b": names[b], **asdict(o)} for (a, b), o in pairs.items()]
        print(json.dumps(rows, indent=2))
    else:
        print(as_text(names, pairs))
    if options.plot:
        save_plot(names, pairs, Path(options.plot))


def short_names(names: list[str]) -> list[str]:
    """What tells the fine-tunings apart: names of folders, whole paths where these agree.

    Example:
        >>> short_names(["runs/en/sft", "runs/hsb/sft/sft.safetensors"])
        ['en', 'hsb']
        >>> short_names(["a/en", "b/en"])
        ['a/en', 'b/en']
    """
    short = []
    for name in names:
        parts = [part for part in Path(name).parts if part not in ("sft", "sft.safetensors")]
        short.append(parts[-1] if parts else name)
    counts = Counter(short)
    return [brief if counts[brief] == 1 else name for brief, name in zip(short, names, strict=True)]


def as_text(names: list[str], pairs: dict[tuple[int, int], Overlap]) -> str:
    """A row per pair."""
    rows = [
        [
            f"{names[a]}, {names[b]}",
            f"{pair.intersection:,}",
            f"{pair.smaller:,}",
            f"{pair.ratio:.2%}",
            "unknown" if pair.chance is None else f"{pair.chance:.2%}",
        ]
        for (a, b), pair in pairs.items()
    ]
    return table(["pair", "in both", "in the smaller", "overlap", "by chance"], rows)


def heat_map(names: list[str], pairs: dict[tuple[int, int], Overlap]) -> tuple[Any, Any]:
    """Draw the overlaps as a symmetric matrix.

    Returns:
        The matplotlib figure and its axes.

    Raises:
        LtsftError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LtsftError(
            "`--plot` needs matplotlib, which is not installed; `pip install 'ltsft[plot]'`."
        ) from error
    matrix = [[1.0] * len(names) for _ in names]
    for (a, b), pair in pairs.items():
        matrix[a][b] = matrix[b][a] = pair.ratio
    size = 2 + 0.6 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            colour = "white" if value < 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    chances = [pair.chance for pair in pairs.values() if pair.chance is not None]
    if chances:
        axes.set_title(f"chance: {max(chances):.2f}")
    figure.colorbar(image, label="|A∩B| / min(|A|, |B|)")
    return figure, axes


def save_plot(names: list[str], pairs: dict[tuple[int, int], Overlap], path: Path) -> None:
    """Save the heat map in the format that the file's name says.

    Raises:
        LtsftError: If matplotlib is not installed or knows no such format, or the file cannot be
            written.
    """
    figure, _ = heat_map(names, pairs)
    kind = path.suffix.removeprefix(".")
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise LtsftError(
            f"`--plot` is expected to end in one of {', '.join(sorted(known))}, but got {path}."
        )
    try:
        with whole_file(path) as temporary:
            figure.savefig(temporary, format=kind)
    except (OSError, LtsftError) as error:
        raise LtsftError(f"`--plot` cannot be written: {error}.") from error
    print(f"Wrote {path}.")
