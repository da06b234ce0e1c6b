"""YAML in which keys are text, as they were typed.

YAML 1.1 takes ``no`` and ``on`` for truth values, ``1e5`` and ``010`` for numbers. As keys of our
options they are codes of languages: ``no`` is Norwegian.
"""

import enum
from collections import Counter
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from ltsft.errors import LtsftError

_load = get_loader("yaml")


def load(stream: str) -> Any:
    """Load YAML as jsonargparse does, with every key as it was typed.

    In a list, too, ``no``, ``yes``, ``on`` and ``off`` stay text; a truth value is ``true`` or
    ``false`` there.

    ``None`` alone is null: an option of an option (``--model.adapters.invertible null``) passes
    through jsonargparse as Python's text for it.

    Args:
        stream: The text.

    Raises:
        yaml.YAMLError: If it is none.
        LtsftError: If a mapping has a key twice.

    Example:
        >>> load("{no: 1e-3, 010: [no, true], null: x}")
        {'no': 0.001, '010': ['no', True], 'null': 'x'}
    """
    if stream == "None":
        return None
    value = _load(stream)
    if not isinstance(value, dict | list):
        return value
    return _as_typed(value, yaml.compose(stream, Loader=yaml.SafeLoader))


def use() -> None:
    """Let all parsers of this process load YAML so, and write members of enums as their values."""
    set_loader("yaml", load, (yaml.YAMLError,))
    # Lightning's Timer has one as a default, which jsonargparse could not write.
    yaml.SafeDumper.add_multi_representer(
        enum.Enum, lambda dumper, member: dumper.represent_data(member.value)
    )


def _as_typed(value: Any, node: yaml.Node | None) -> Any:
    """Values that were loaded, with the keys of the nodes that they were loaded from."""
    if isinstance(value, dict) and isinstance(node, yaml.MappingNode):
        merges = any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value)
        if merges:
            return value
        if len(node.value) != len(value):
            ((key, times),) = Counter(key.value for key, _ in node.value).most_common(1)
            raise LtsftError(
                f"each key of a mapping is expected to come once, but `{key}` comes {times} times; "
                "a list holds several values."
            )
        return {
            key_node.value if isinstance(key_node, yaml.ScalarNode) else key: _as_typed(item, child)
            for (key, item), (key_node, child) in zip(value.items(), node.value, strict=True)
        }
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        return [_item_as_typed(item, child) for item, child in zip(value, node.value, strict=True)]
    return value


def _item_as_typed(value: Any, node: yaml.Node) -> Any:
    if isinstance(value, bool) and node.value.lower() not in ("true", "false"):
        return node.value
    return _as_typed(value, node)
