"""Whether fine-tunings are the same, or composed of the same."""

from collections.abc import Iterator, Mapping
from typing import Any

from ltsft.sparse.delta import Parts
from ltsft.sparse.digest import entries_digest


def is_same(one: Parts, other: Parts) -> bool:
    """Whether two fine-tunings are the same, heads aside where there is a difference."""
    if one.entries and other.entries:
        return one is other or dict(one.entries) == dict(other.entries)
    return one == other


def share_a_part(one: Parts, other: Parts) -> bool:
    """Whether one is composed of the other, or both of a third one."""
    parts = [set(_parts_of(sft.metadata.extra)) for sft in (one, other)]
    if not any(parts):
        return False
    mine, theirs = (
        digests | {entries_digest(sft.entries)}
        for digests, sft in zip(parts, (one, other), strict=True)
    )
    return not mine.isdisjoint(theirs)


def _parts_of(about: Mapping[str, Any]) -> Iterator[str]:
    """Digests of what was added up, as far as a composition says."""
    composition = about.get("composition")
    for part in composition.get("parts", ()) if composition else ():
        if part["weight"] > 0 and "digest" in part:
            yield part["digest"]
            yield from _parts_of(part)
