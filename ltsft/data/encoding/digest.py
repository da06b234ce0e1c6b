"""Digests of content, by which results of preprocessing are told apart."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(parts: Iterable[str | bytes]) -> str:
    """A digest of texts; where one ends and the next begins matters.

    Example:
        >>> digest(["ab"]) == digest(["a", "b"])
        False
    """
    hasher = hashlib.blake2b(digest_size=20)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(len(raw).to_bytes(8, "big"))
        hasher.update(raw)
    return hasher.hexdigest()


def file_digest(path: str | Path) -> str:
    """A digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
