"""Command lines, word by word."""

import json
from typing import Any


def option(key: str, value: Any) -> list[str]:
    """An option on a command line; what is no string goes as JSON, which is YAML too.

    Example:
        >>> option("sparse.budget.density", 0.1), option("data.train", {"en": "en.conllu"})
        (['--sparse.budget.density=0.1'], ['--data.train={"en": "en.conllu"}'])
    """
    word = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [f"--{key}={word}"]  # one word: a value may begin with a dash
