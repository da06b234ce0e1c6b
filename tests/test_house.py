"""The rooms of the package: who may import whom; no circles.

Every import counts, wherever it stands: in a function, or for type checkers alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ltsft

ROOT = Path(ltsft.__file__).parent

ROOMS = [
    "errors",
    "version",
    "atomic",
    "batch",
    "files",
    "sparse",
    "metrics",
    "modules",
    "data",
    "tasks",
    "callbacks",
    "exchange",
    "terminal",
    "study",
    "commands",
    "cli",
]
"""From the ground up: a room imports itself and rooms before it in this list."""

NEIGHBOURS_UNKNOWN = {
    "callbacks": {"tasks", "data", "modules", "metrics"},
    "metrics": {"sparse"},
    "data": {"sparse", "modules", "metrics"},
}
"""What a room does not import although it comes before: each stands on its own."""

ALONE = {
    "sparse": {
        "torch",
        "safetensors",
        "xxhash",
        "zstandard",
        "numpy",
        "huggingface_hub",
        "lazy_loader",
        "typing_extensions",
    },
    "callbacks": {"torch", "lightning", "numpy", "typing_extensions"},
    "errors": set(),
    "version": set(),
    "atomic": set(),
    "batch": set(),
    "files": set(),
}
"""All that some rooms stand on, beside Python's own library and rooms of ours."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports: modules, of ours the very one that a name is of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


GRAPH = {name: set(imports(path)) for name, path in MODULES.items()}


def room(name: str) -> str | None:
    """The room of a module of ours; the package itself, its face, is in none."""
    first, _, rest = name.partition(".")
    return rest.split(".")[0] if first == "ltsft" and rest else None


def test_every_room_has_its_place():
    assert {room(name) for name in MODULES} - {None} == set(ROOMS)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"ltsft"}))
def test_rooms_import_in_one_direction(name):
    here = room(name)
    below = set(ROOMS[: ROOMS.index(here) + 1]) - NEIGHBOURS_UNKNOWN.get(here, set())
    ours = {other for other in GRAPH[name] if other.split(".")[0] == "ltsft"}
    assert "ltsft" not in ours, "the face is for users; import from where a thing is"
    assert {room(other) for other in ours} <= below


def test_there_are_no_circles():
    """Among all modules, `__init__` included."""
    seen: dict[str, str] = {}

    def visit(name: str, way: list[str]) -> None:
        if seen.get(name) == "done":
            return
        assert seen.get(name) != "open", " -> ".join([*way[way.index(name) :], name])
        seen[name] = "open"
        for other in sorted(GRAPH[name] & GRAPH.keys() - {name}):
            visit(other, [*way, name])
        seen[name] = "done"

    for name in sorted(GRAPH):
        visit(name, [])


@pytest.mark.parametrize("here", ALONE)
def test_some_rooms_stand_on_little(here):
    import sys

    outside = {
        other.split(".")[0]
        for name, others in GRAPH.items()
        if room(name) == here
        for other in others
    }
    assert outside - {"ltsft"} - set(sys.stdlib_module_names) <= ALONE[here]


def test_commands_are_imported_by_nobody():
    """`cli` imports the one that is asked for, by name."""
    for name, others in GRAPH.items():
        if room(name) != "commands":
            assert not any(room(other) == "commands" for other in others), name
        else:
            others = {o for o in others if room(o) == "commands"}
            assert others <= {"ltsft.commands"} or "." in name.removeprefix("ltsft.commands."), name
