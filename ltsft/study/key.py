"""What a run is, by content: the same from any folder, another one where a file is replaced."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

_PATHS = ("base_model", "tokenizer", "base_sfts", "sfts", "text", "train", "validation", "test")
"""Ends of options whose values may be files or folders, or have some in them."""

_CHUNK_BYTES = 1 << 22


def key_of(command: list[str], output: str, needs: list[str]) -> str:
    """Digest of all that decides a run's result.

    Files and folders that the command names count by what is in them, wherever they lie; those in
    the study's own output by their place in it, as the runs that make them are in `needs`. The
    order of options does not count, that of configs does: later ones win.

    Args:
        command: The command line, word by word.
        output: The study's folder.
        needs: Keys of the runs whose results it uses.
    """
    own = f"{output}/"

    def content(text: str) -> Any:
        if text == output or text.startswith(own):
            return {"output": text[len(own) :]}
        path = Path(text)
        if len(text) > 4095 or "\0" in text or not path.exists():
            return text
        return {"digest": digest(path)}

    if command[0] == "ltsft":
        said: Any = [command[1], *_options(command[2:], content)]
    else:
        said = [word.replace(output, "output") for word in command]
    text = json.dumps([said, needs], ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(text.encode())


def _options(words: list[str], content: Callable[[str], Any]) -> Iterator[Any]:
    """Configs in their order, then options by name, the last of each."""
    options: dict[str, Any] = {}
    for name, value in _pairs(words):
        if name == "config":
            yield [name, content(value)]
        elif name == "trainer.default_root_dir" or name.split(".")[-1] in _PATHS:
            options[name] = _map(_load(value), content)
        else:
            options[name] = value
    yield dict(sorted(options.items()))


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    words = list(words)
    while words:
        name, equals, value = words.pop(0).removeprefix("--").partition("=")
        yield name, value if equals else words.pop(0)


def _load(value: str) -> Any:
    try:
        return json.loads(value) if value[:1] in ("{", "[") else value
    except json.JSONDecodeError:
        return value  # a path that begins with a bracket


def _map(value: Any, content: Callable[[str], Any]) -> Any:
    """Every string in it replaced by what stands for it; keys are languages, and stay."""
    if isinstance(value, dict):
        return {key: _map(item, content) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, content) for item in value]
    return content(value) if isinstance(value, str) else value


def digest(path: Path) -> str:
    """Digest of a file's bytes, or of the names and bytes of all files in a folder."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        parts = [f"{file.relative_to(path)} {digest(file)}" for file in inside]
        return xxhash.xxh3_128_hexdigest("\n".join(parts).encode())
    status = path.stat()
    # The time of change of a file's data can be set by whoever replaces it, that of its entry not.
    return _digest(str(path), status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


@cache
def _digest(path: str, *version: int) -> str:
    """Of a file, read once in this process as long as it is the same."""
    hasher = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
